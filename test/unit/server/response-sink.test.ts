import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type Test, t } from 'tap';
import { ResponseSink } from '../../../src/server/response-sink.ts';
import { createCall, createResponse } from '../upstream/layer-fixtures.ts';

const RECORD = 16 * 1024;

/** A response of a real server whose writes to the socket are counted, a sink for it, and its caller. */
async function open(t: Test): Promise<{ sink: ResponseSink; writes: number[]; caller: Promise<Buffer> }> {
  const server = createServer();
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const asked = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  const caller = new Promise<Buffer>((resolve, reject) => {
    get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, agent: false }, (response) =>
      buffer(response).then(resolve, reject),
    ).on('error', reject);
  });
  const [, response] = await asked;
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  const writes: number[] = [];
  const socket = response.socket as Socket & Record<'_write' | '_writev', (...args: never[]) => void>;
  for (const name of ['_write', '_writev'] as const) {
    const write = socket[name].bind(socket);
    socket[name] = (...args: never[]) => {
      const [written] = args as unknown as [Buffer | { chunk: Buffer }[]];
      writes.push(Array.isArray(written) ? written.length : 1);
      write(...args);
    };
  }
  return { sink: new ResponseSink(response, createCall().record, createResponse(200)), writes, caller };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

t.test('pieces of a large body that arrive together are written together', async (t) => {
  const { sink, writes, caller } = await open(t);
  const pieces = [1, 2, 3].map((octet) => Buffer.alloc(RECORD, octet));
  for (const piece of pieces) t.ok(sink.write(piece));
  t.same(writes, [], 'not before all is read that has arrived');
  await turn();
  t.equal(writes.length, 1);
  sink.end();
  await sink.done;
  t.ok((await caller).equals(Buffer.concat(pieces)), 'in their order');
});

t.test('64 KiB are not held back', async (t) => {
  const { sink, writes, caller } = await open(t);
  for (let n = 0; n < 8; n++) sink.write(Buffer.alloc(RECORD, n));
  t.equal(writes.length, 2);
  sink.end(Buffer.from('rest'));
  await sink.done;
  t.equal((await caller).length, 8 * RECORD + 4);
});

t.test('a small piece waits for nothing', async (t) => {
  const { sink, writes, caller } = await open(t);
  sink.write(Buffer.from('data: 1\n\n'));
  await new Promise<void>((resolve) => process.nextTick(resolve));
  t.equal(writes.length, 1);
  sink.end();
  await sink.done;
  t.equal(String(await caller), 'data: 1\n\n');
});

t.test('the end takes with it what was held back, and leaves the next response of the connection alone', async (t) => {
  const { sink, writes, caller } = await open(t);
  sink.write(Buffer.alloc(RECORD, 1));
  sink.end(Buffer.from('rest'));
  t.equal(writes.length, 1);
  await sink.done;
  await turn();
  t.equal((await caller).length, RECORD + 4);
});
