// 10,000 messages of 64 kB to a reader that is slower than their sender, in both directions: every one arrives, in
// order, and the gateway holds no more of them than a few.

import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { type WebSocket, WebSocketServer } from 'ws';
import { type GatewayProcess, startGatewayProcess } from '../helpers/gateway-process.ts';
import { makeChannel, openWebSocket, startStreamingUpstream } from '../helpers/sockets.ts';

const COUNT = 10_000;
const SIZE = 64 * 1024;
const BYTES = COUNT * SIZE;
/** What the system's own buffers on four sockets may take. */
const UNREAD_LIMIT = 64 * 1024 * 1024;
/** What the gateway itself may hold for a reader that does not read. */
const HELD_LIMIT = 2 * 1024 * 1024;
/** What its process may grow by while 655 MB pass: buffers that are read already and not yet collected. */
const GROWTH_LIMIT = 128 * 1024 * 1024;

const filling = Buffer.alloc(SIZE, 'every octet counts; ');

function messageOf(n: number): Buffer {
  const message = Buffer.from(filling);
  message.writeUInt32BE(n, 0);
  return message;
}

/** Sends all, each after the one before has left the process; `sent` tells how far it is. */
function sendAll(socket: WebSocket): { sent: number; done: Promise<void> } {
  const progress = { sent: 0, done: Promise.resolve() };
  progress.done = (async () => {
    for (let n = 0; n < COUNT; n++) {
      await new Promise<void>((resolve, reject) =>
        socket.send(messageOf(n), (error) => (error ? reject(error) : resolve())),
      );
      progress.sent += 1;
    }
  })();
  return progress;
}

/** Resolves when the sender is stuck: nothing more is taken off its hands for half a second. */
async function stuck(progress: { readonly sent: number }): Promise<void> {
  let before = -1;
  while (progress.sent > before) {
    before = progress.sent;
    await pause(500);
  }
}

/** Reads on from a pause, with a rest after every 100 messages. */
async function readSlowly(socket: WebSocket): Promise<{ wrong: number; read: number }> {
  let read = 0;
  let wrong = 0;
  const all = new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => {
      if (data.length !== SIZE || data.readUInt32BE(0) !== read || !data.subarray(4).equals(filling.subarray(4)))
        wrong += 1;
      read += 1;
      if (read === COUNT) resolve();
      else if (read % 100 === 0) {
        socket.pause();
        setTimeout(() => socket.resume(), 20);
      }
    });
  });
  socket.resume();
  await all;
  return { wrong, read };
}

async function highestRss(gateway: GatewayProcess, until: Promise<unknown>): Promise<number> {
  let isOver = false;
  until.finally(() => {
    isOver = true;
  });
  let highest = 0;
  while (!isOver) {
    highest = Math.max(highest, (await gateway.state()).rss);
    await pause(20);
  }
  return highest;
}

for (const direction of ['from the platform', 'from the client'] as const) {
  t.test(`${direction}: all arrive, in order, and memory stays`, async (t) => {
    const server = new WebSocketServer({ noServer: true, perMessageDeflate: false });
    const opened = once(server, 'connection') as Promise<[WebSocket]>;
    const upstream = await startStreamingUpstream(t, (request, socket, head) =>
      server.handleUpgrade(request, socket, head, (ws) => server.emit('connection', ws)),
    );
    const gateway = await startGatewayProcess(t, upstream.origin);
    const near = await openWebSocket(t, (await makeChannel(gateway.url)).connectUri, { perMessageDeflate: false });
    const [far] = await opened;
    const base = await gateway.state({ collect: true });
    const [from, to] = direction === 'from the client' ? [near, far] : [far, near];
    to.pause();
    const progress = sendAll(from);
    await stuck(progress);
    const unreadBytes = progress.sent * SIZE;
    const held = await gateway.state({ collect: true });
    const heldBytes = held.external + held.heapUsed - base.external - base.heapUsed;
    t.ok(unreadBytes < UNREAD_LIMIT, `the sender was stopped after ${unreadBytes / 1e6} MB`);
    t.ok(heldBytes < HELD_LIMIT, `the gateway held ${heldBytes / 1e6} MB of it`);
    const reading = readSlowly(to);
    const highest = await highestRss(gateway, reading);
    const { wrong, read } = await reading;
    await progress.done;
    t.equal(read, COUNT);
    t.equal(wrong, 0, 'none lost, none out of order, none changed');
    t.ok(highest - base.rss < GROWTH_LIMIT, `the gateway grew by ${(highest - base.rss) / 1e6} MB at most`);
    t.comment(
      `${BYTES / 1e6} MB carried; sender stopped after ${unreadBytes / 1e6} MB, of which the gateway held ` +
        `${heldBytes / 1e6} MB`,
    );
    t.comment(`RSS ${base.rss / 1e6} MB before, ${highest / 1e6} MB at most`);
  });
}
