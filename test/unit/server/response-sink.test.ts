import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
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

t.test('a caller who reads slowly holds the upstream up, and it is asked to go on', async (t) => {
  const pieces = 1_024;
  for (const highWaterMark of [64 * 1024, 256 * 1024]) {
    const server = createServer({ highWaterMark });
    t.teardown(() => server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const caller = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
    caller.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const [, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse];
    response.writeHead(200, { 'transfer-encoding': 'chunked' }).flushHeaders();
    let mostWaiting = 0;
    let left = pieces;
    const arrive = () => {
      for (let n = 0; n < 5 && left > 0; n++, left--) {
        const wantsMore = sink.write(Buffer.alloc(RECORD));
        mostWaiting = Math.max(mostWaiting, response.writableLength);
        if (wantsMore) continue;
        left--;
        return;
      }
      if (left > 0) setImmediate(arrive);
      else sink.end();
    };
    const upstream = { ...createResponse(200), resume: () => void setImmediate(arrive) };
    const sink = new ResponseSink(response, createCall().record, upstream);
    arrive();
    while (left > 0 && response.writableLength < highWaterMark) await turn();
    const received = buffer(caller.resume());
    await sink.done;
    t.ok((await received).length > pieces * RECORD);
    t.ok(mostWaiting < highWaterMark + 10 * RECORD, `${mostWaiting} octets waited at most`);
  }
});
