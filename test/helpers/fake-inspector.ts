// A stand-in for a gateway that shows its calls: it answers what a test says, and ends streams when a test says so.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import type { Call, CallAnswer } from '../../src/inspector/wire.ts';

/** What it keeps, and who watches. */
export interface FakeInspector {
  readonly port: number;
  /** `--listen` for commands. */
  readonly address: string;
  instance: string;
  readonly calls: Call[];
  answer: (Omit<CallAnswer, 'instance' | 'copy'> & Partial<Pick<CallAnswer, 'copy'>>) | null;
  /** Requests, as METHOD target. */
  readonly seen: string[];
  /** A status that every request gets. */
  refusal: { status: number; code: string; message: string } | null;
  /** Keeps a call and tells whoever watches. */
  add(call: Call): void;
  /** Writes to whoever watches. */
  write(text: string): void;
  /** Ends all streams; with `isDown` nothing is answered until `up`. */
  cut(): void;
  down(): Promise<void>;
  up(): Promise<void>;
  /** Resolves when somebody watches. */
  watched(): Promise<void>;
}

/** Starts one on a free port; it ends with the test. */
export async function startFakeInspector(t: Test): Promise<FakeInspector> {
  const streams = new Set<ServerResponse>();
  const wake: (() => void)[] = [];
  const server = createServer((request, response) => {
    fake.seen.push(`${request.method} ${request.url}`);
    response.setHeader('X-Gateway-Request-Id', 'id');
    if (fake.refusal !== null) return json(response, fake.refusal.status, fake.refusal);
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (url.pathname === '/-/calls') return list(response, url);
    if (url.pathname === '/-/events') return watch(request, response);
    if (fake.answer === null || !url.pathname.startsWith('/-/calls/'))
      return json(response, 404, { code: 'gateway.route.not.found', message: 'no such call' });
    json(response, 200, { instance: fake.instance, ...fake.answer });
  });
  const json = (response: ServerResponse, status: number, body: object) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const list = (response: ServerResponse, url: URL) => {
    const after = Number(url.searchParams.get('after') ?? 0);
    const limit = Number(url.searchParams.get('limit'));
    const found = fake.calls.filter(({ seq }) => seq > after).reverse();
    const newest = fake.calls.at(-1)?.seq ?? null;
    const calls = found.slice(0, limit);
    const { instance } = fake;
    json(response, 200, { instance, oldest: 1, newest, keptSince: null, more: found.length > limit, calls });
  };
  const watch = (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`event: hello\ndata: ${JSON.stringify({ instance: fake.instance, reset: false })}\n\n`);
    streams.add(response);
    response.on('close', () => streams.delete(response));
    for (const each of wake.splice(0)) each();
  };
  const listen = (port: number) =>
    new Promise<void>((resolve) => {
      server.listen(port, '127.0.0.1', resolve);
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const fake: FakeInspector = {
    port,
    address: `127.0.0.1:${port}`,
    instance: 'one',
    calls: [],
    answer: null,
    seen: [],
    refusal: null,
    add(call) {
      fake.calls.push(call);
      fake.write(`id: ${fake.instance}-${call.seq}\nevent: calls\ndata: ${JSON.stringify({ calls: [call] })}\n\n`);
    },
    write(text) {
      for (const stream of streams) stream.write(text);
    },
    cut() {
      for (const stream of streams) stream.destroy();
    },
    async down() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
    up: () => listen(port),
    watched: async () => {
      if (streams.size === 0) await new Promise<void>((resolve) => wake.push(resolve));
    },
  };
  return fake;
}

/** A call that went well, or as `fields` say. */
export function fakeCall(seq: number, fields: Partial<Call> = {}): Call {
  return {
    seq,
    level: 'info',
    time: new Date(Date.UTC(2026, 10, 28, 14, 0, seq)).toISOString(),
    requestId: `9f3c7a10-0000-4000-8000-00000000000${seq % 10}`,
    client: 'etl',
    credential: 'crm',
    method: 'GET',
    path: `/api/v2/users/${seq}`,
    route: '/api/v2/users/{userId}',
    status: 200,
    durationMs: 43,
    upstreamMs: 40,
    tokenWaitMs: 0,
    queueMs: 0,
    attempts: 1,
    requestBytes: 0,
    responseBytes: 100,
    source: 'upstream',
    ...fields,
  };
}
