import { Duplex, type DuplexOptions } from 'node:stream';
import t from 'tap';
import { TICK_MS, Tunnel } from '../../../../src/upstream/websocket/tunnel.ts';
import { createFakeClock } from '../../../helpers/fake-clock.ts';

/** One end, as the tunnel sees it. What it is sent is kept; `take` lets it have the next of what it holds back. */
function createEnd(options: DuplexOptions = {}) {
  const received: Buffer[] = [];
  const held: (() => void)[] = [];
  const state = { isSlow: false };
  const socket = new Duplex({
    ...options,
    allowHalfOpen: true,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      received.push(chunk);
      if (state.isSlow) held.push(done);
      else done();
    },
  });
  return {
    socket,
    state,
    received: () => Buffer.concat(received),
    take: () => held.shift()?.(),
    say: (octets: Buffer) => socket.push(octets),
  };
}

function createPair(stalledMs = 300_000) {
  const clock = createFakeClock();
  const client = createEnd();
  const upstream = createEnd();
  const nothing = Buffer.alloc(0);
  const ends = { client: client.socket, clientHead: nothing, upstream: upstream.socket, upstreamHead: nothing };
  const tunnel = new Tunnel(ends, { stalledMs }, clock);
  const tick = async () => {
    await clock.advance(TICK_MS);
    tunnel.tick();
  };
  return { clock, client, upstream, tunnel, tick };
}

const frame = (size: number) =>
  Buffer.concat([Buffer.from([0x82, 126, size >> 8, size & 0xff]), Buffer.alloc(size, 'x')]);

t.test('a sender waits for a receiver that is behind', async (t) => {
  const { clock, client, upstream } = createPair();
  client.state.isSlow = true;
  for (let n = 0; n < 100; n++) upstream.say(frame(10_000));
  await clock.settle();
  t.ok(upstream.socket.isPaused());
  const heldBytes = client.socket.writableLength;
  t.ok(heldBytes < 200_000, `${heldBytes} octets are held`);
  for (let n = 0; n < 200; n++) {
    client.take();
    await clock.settle();
  }
  t.equal(client.received().length, 100 * 10_004);
});

t.test('a receiver that takes nothing for too long is dropped, and so is its sender', async (t) => {
  const { clock, client, upstream, tunnel, tick } = createPair(4 * TICK_MS);
  client.state.isSlow = true;
  for (let n = 0; n < 100; n++) upstream.say(frame(10_000));
  await clock.settle();
  for (let n = 0; n < 4; n++) await tick();
  t.notOk(client.socket.destroyed, 'not at once');
  await tick();
  t.ok(client.socket.destroyed && upstream.socket.destroyed);
  t.match(await tunnel.done, { by: 'stalled', closeCode: 1006 });
});

t.test('a receiver that is slow but takes something is kept', async (t) => {
  const { clock, client, upstream, tick } = createPair(2 * TICK_MS);
  client.state.isSlow = true;
  for (let n = 0; n < 100; n++) upstream.say(frame(10_000));
  await clock.settle();
  Object.defineProperty(client.socket, 'bytesWritten', {
    get: () => client.received().length + client.socket.writableLength,
  });
  for (let n = 0; n < 20; n++) {
    client.take();
    await tick();
  }
  t.notOk(client.socket.destroyed);
});

t.test('an end that never closes its side is not waited for', async (t) => {
  const { clock, client, upstream, tunnel } = createPair();
  upstream.socket.push(null);
  await clock.settle();
  t.ok(client.socket.writableEnded, 'it was told');
  t.notOk(client.socket.destroyed);
  await clock.advance(5_000);
  t.ok(client.socket.destroyed && upstream.socket.destroyed);
  t.match(await tunnel.done, { by: 'upstream', closeCode: 1006 });
  t.equal(clock.pending, 0, 'no timer stays');
});

t.test('an end that was gone before it began ends it', async (t) => {
  const { socket } = createEnd();
  const { socket: other } = createEnd();
  socket.destroy();
  await new Promise((resolve) => socket.once('close', resolve));
  const nothing = Buffer.alloc(0);
  const clock = createFakeClock();
  const tunnel = new Tunnel(
    { client: socket, clientHead: nothing, upstream: other, upstreamHead: nothing },
    { stalledMs: 1_000 },
    clock,
  );
  await clock.settle();
  await clock.advance(5_000);
  t.match(await tunnel.done, { by: 'client', closeCode: 1006 });
  t.ok(other.destroyed);
});

t.test('a close frame that passed already is not followed by another', async (t) => {
  const { clock, client, upstream, tunnel } = createPair();
  upstream.say(Buffer.from([0x88, 0x02, 0x03, 0xe8]));
  await clock.settle();
  tunnel.goAway();
  await clock.settle();
  t.equal(client.received().toString('hex'), '880203e8');
  t.match(upstream.received().toString('hex'), /^8882[0-9a-f]{12}$/);
  tunnel.destroy();
  t.match(await tunnel.done, { by: 'upstream', closeCode: 1000 });
});
