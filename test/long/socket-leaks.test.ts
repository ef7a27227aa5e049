// Sockets that come and go, in every way they can: what the gateway holds afterwards is what it held before.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import t from 'tap';
import WebSocket from 'ws';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { startGatewayProcess } from '../helpers/gateway-process.ts';
import { makeChannel } from '../helpers/sockets.ts';

const ROUNDS = 12;
const PER_ROUND = 100;

t.test('1,200 sockets, closed, reset and broken off, leave nothing behind', async (t) => {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const gateway = await startGatewayProcess(t, origin);
  const { id, connectUri } = await makeChannel(gateway.url);

  /** One socket a channel: each takes the place of the one before, which ends that one as well. */
  async function useOne(n: number): Promise<void> {
    const socket = new WebSocket(connectUri);
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.on('error', () => {});
    if (n % 4 === 3) {
      // Gone before it was open.
      socket.terminate();
      return closed;
    }
    await once(socket, 'open');
    if (n % 4 === 0) socket.close(1000);
    else if (n % 4 === 1) (socket as unknown as { _socket: Socket })._socket.resetAndDestroy();
    else sandbox.socketOf(id)?.destroy();
    await closed;
  }
  async function settled() {
    for (;;) {
      const state = await gateway.state({ collect: true });
      if (state.sockets === 0) return state;
    }
  }

  // A socket that stays costs tens of kilobytes.
  const states: { heapUsed: number; external: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (let n = 0; n < PER_ROUND; n++) await useOne(n);
    states.push(await settled());
  }
  const warm = states[3]!;
  const last = states.at(-1)!;
  const grownPerSocket = (last.heapUsed + last.external - warm.heapUsed - warm.external) / ((ROUNDS - 4) * PER_ROUND);
  t.ok(grownPerSocket < 1000, `${grownPerSocket.toFixed(0)} bytes a socket after a warm-up`);
  t.comment(
    `heap + external ${(warm.heapUsed + warm.external) / 1e6} MB after 400 sockets, ` +
      `${(last.heapUsed + last.external) / 1e6} MB after 1,200`,
  );
});
