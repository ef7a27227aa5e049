// Ten who watch and do not read: what they are not told is not kept for them, however much it is, and callers are served
// as before.

import { once } from 'node:events';
import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { runLoad } from '../../bench/load.ts';
import { createGateway } from '../../src/gateway.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { configAt } from '../helpers/gateway.ts';

const MIB = 1024 * 1024;
/** A path of 2 KiB in each line: a frame is large, and what waits is soon more than is allowed. */
const PATH = `/api/v2/organizations/me?x=${'y'.repeat(2_000)}`;
const CALLS = 40_000;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** What is alive, buffers included. */
function held(): number {
  gc();
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

t.test('memory is flat while ten do not read', async (t) => {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const config = configAt(origin, {
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    rateLimit: { mode: 'off' },
  });
  // The log of other tests keeps all records.
  const log = { error() {}, warn() {}, info() {}, debug() {}, exchange: () => null };
  const gateway = await createGateway(config, { log, env: {} });
  const [url = ''] = await gateway.listen();
  t.teardown(() => gateway.drain());
  const port = Number(new URL(url).port);
  const watch = async (isRead: boolean) => {
    const socket = connect(port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
    const head = `GET /-/events HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Request: 1\r\nX-Gateway-Key: ${gateway.pageKey}`;
    socket.write(`${head}\r\n\r\n`);
    await once(socket, 'data');
    if (isRead) socket.resume();
    else socket.pause();
    return socket;
  };
  const stalled = await Promise.all(Array.from({ length: 9 }, () => watch(false)));
  const reader = await watch(true);
  let told = 0;
  reader.on('data', (chunk: Buffer) => {
    told += chunk.length;
  });
  await runLoad({ port }, PATH, 10_000, 16);
  const before = held();
  await runLoad({ port }, PATH, CALLS, 16);
  const more = (held() - before) / MIB;
  t.comment(
    `${more.toFixed(1)} MiB more after ${CALLS} calls; the one who reads was sent ${Math.round(told / MIB)} MiB`,
  );
  t.ok(more < 8, `${more} MiB`);
  t.ok(told > 10 * MIB, 'the one who reads was told');
  t.notOk(
    stalled.some((socket) => socket.bytesRead > 16 * MIB),
    'the others were not',
  );
});
