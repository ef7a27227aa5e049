// Request bodies that can be sent again, and how much all of them keep.

import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import {
  type BodyRules,
  createReplayBudget,
  NO_BODY,
  type RequestBody,
  readRequestBody,
} from '../../../src/upstream/request-body.ts';

/** A request whose body the test writes piece by piece. */
async function openRequest(
  t: Test,
  length: number | null,
): Promise<{ message: IncomingMessage; socket: Socket; chunk: (text: string) => void; end: () => void }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1');
  socket.on('error', () => {});
  t.teardown(() => {
    socket.destroy();
    server.close();
  });
  socket.write(
    `POST / HTTP/1.1\r\nHost: ` +
      `a\r\n${length === null ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`}\r\n\r\n`,
  );
  const [message] = (await once(server, 'request')) as [IncomingMessage];
  message.on('error', () => {});
  return {
    message,
    socket,
    chunk: (text) => void socket.write(length === null ? `${text.length.toString(16)}\r\n${text}\r\n` : text),
    end: () => void (length === null && socket.write('0\r\n\r\n')),
  };
}

const rules = (more: Partial<BodyRules> = {}): BodyRules => ({
  maxBytes: 0,
  idleMs: 30_000,
  budget: createReplayBudget(),
  observe: null,
  ...more,
});

async function drain(attempt: Buffer | AsyncIterable<Buffer> | null): Promise<string> {
  if (attempt === null) return '';
  if (Buffer.isBuffer(attempt)) return attempt.toString('latin1');
  let text = '';
  for await (const chunk of attempt) text += chunk.toString('latin1');
  return text;
}

t.test('no body and an empty one need nothing', async (t) => {
  const { message } = await openRequest(t, 0);
  t.equal(await readRequestBody(message, 0, rules()), NO_BODY);
  t.equal(NO_BODY.attempt(), null);
  t.equal(NO_BODY.canReplay, true);
});

t.test('a small counted body is whole before it is handed out', async (t) => {
  const request = await openRequest(t, 10);
  const reading = readRequestBody(request.message, 10, rules());
  request.chunk('hello');
  request.chunk('world');
  const body = await reading;
  t.equal(body.isStreaming, false);
  t.equal(body.receivedBytes, 10);
  t.equal(String(body.attempt()), 'helloworld');
  t.equal(String(body.attempt()), 'helloworld', 'and again');
});

t.test('a chunked body is handed out after its first chunk, and replayed from the beginning', async (t) => {
  const request = await openRequest(t, null);
  const reading = readRequestBody(request.message, null, rules());
  request.chunk('one');
  const body = await reading;
  t.equal(body.isStreaming, true);
  const first = (body.attempt() as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  t.equal(String((await first.next()).value), 'one');
  const waiting = first.next();
  const second = drain(body.attempt());
  request.chunk('two');
  request.end();
  t.strictSame(await waiting, { value: undefined, done: true }, 'an attempt that was given up takes nothing');
  t.equal(await second, 'onetwo');
  t.equal(await drain(body.attempt()), 'onetwo');
  t.equal(body.canReplay, true);
});

t.test('beyond 512 KiB nothing is kept, and the body can be sent once', async (t) => {
  const budget = createReplayBudget();
  const request = await openRequest(t, 700_000);
  const reading = readRequestBody(request.message, 700_000, rules({ budget }));
  request.chunk('x'.repeat(700_000));
  const body = await reading;
  t.equal(body.canReplay, true, 'at first');
  t.equal((await drain(body.attempt())).length, 700_000);
  t.equal(body.canReplay, false);
  t.equal(budget.usedBytes, 0);
});

t.test('the budget is shared, and given back', async (t) => {
  const budget = createReplayBudget(15);
  const send = async (text: string): Promise<RequestBody> => {
    const request = await openRequest(t, text.length);
    request.chunk(text);
    return readRequestBody(request.message, text.length, rules({ budget }));
  };
  const [one, two] = [await send('0123456789'), await send('0123456789')];
  t.strictSame([one.canReplay, two.canReplay, budget.usedBytes], [true, false, 10]);
  t.equal(String(two.attempt()), '0123456789', 'what is not kept is sent once');
  one.release();
  one.release();
  two.release();
  t.equal(budget.usedBytes, 0);
});

t.test('a body that is never finished gives its share of the budget back', async (t) => {
  const budget = createReplayBudget();
  const request = await openRequest(t, 100);
  const seen = new EventEmitter();
  const reading = readRequestBody(request.message, 100, rules({ budget, observe: () => void seen.emit('chunk') }));
  const arrived = once(seen, 'chunk');
  request.chunk('half');
  await arrived;
  t.equal(budget.usedBytes, 4);
  request.socket.destroy();
  await t.rejects(reading, { code: 'gateway.request.invalid', message: /broke off/ });
  t.equal(budget.usedBytes, 0);
});

t.test('a counted body over the limit is refused before it is invited or read', async (t) => {
  const { message } = await openRequest(t, 11);
  let invited = 0;
  const invite = () => {
    invited += 1;
  };
  await t.rejects(readRequestBody(message, 11, rules({ maxBytes: 10, invite })), {
    code: 'gateway.body.too.large',
    statusCode: 413,
    message: /max_body_bytes \(10\)/,
  });
  t.equal(invited, 0);
});

t.test('a chunked body over the limit is refused when it gets there', async (t) => {
  const request = await openRequest(t, null);
  const reading = readRequestBody(request.message, null, rules({ maxBytes: 10 }));
  request.chunk('12345');
  const body = await reading;
  const sending = drain(body.attempt());
  request.chunk('67890');
  request.chunk('x');
  await t.rejects(sending, { code: 'gateway.body.too.large' });
  t.equal(body.canReplay, false);
});

t.test('a caller that stalls is told so, and its message is left whole to tell it', async (t) => {
  const request = await openRequest(t, 10);
  const reading = readRequestBody(request.message, 10, rules({ idleMs: 30 }));
  request.chunk('half');
  await t.rejects(reading, { code: 'gateway.request.invalid', statusCode: 408, message: /stalled for 0.03 s/ });
  t.equal(request.message.destroyed, false);
});

t.test('each chunk is shown once, however often it is sent', async (t) => {
  const seen: string[] = [];
  const request = await openRequest(t, 5);
  request.chunk('hello');
  const body = await readRequestBody(request.message, 5, rules({ observe: (chunk) => void seen.push(String(chunk)) }));
  body.attempt();
  body.attempt();
  t.equal(seen.join(''), 'hello');
});
