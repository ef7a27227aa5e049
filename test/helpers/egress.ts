// An egress with test settings, an upstream to reach through it, and a client over both. Everything ends with the test.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingHttpHeaders, type RequestListener } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { systemClock } from '../../src/clock.ts';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import type { Log } from '../../src/logging/log.ts';
import { inlineSecret } from '../../src/secret.ts';
import { Egress, type EgressOptions } from '../../src/upstream/egress/egress.ts';

/** Whatever can run something at the end of a test. */
export interface TearsDown {
  teardown(fn: () => unknown): void;
}

export interface TestEgressOptions extends Partial<Omit<EgressOptions, 'proxy' | 'tls'>> {
  readonly proxy?: Partial<Omit<GatewayConfig['proxy'], 'password'>> & { readonly password?: string };
  readonly tls?: Partial<GatewayConfig['tls']>;
}

export const quietLog: Log = { error() {}, warn() {}, info() {}, debug() {} };

/** Settings as they are when nothing is configured, and no environment but what is given. */
export function createTestEgress(t: TearsDown, { proxy = {}, tls = {}, ...rest }: TestEgressOptions = {}): Egress {
  const { password, ...proxyRest } = proxy;
  const egress = new Egress({
    proxy: {
      url: null,
      username: null,
      credentialHosts: [],
      noProxy: [],
      off: false,
      ...proxyRest,
      password: password === undefined ? null : inlineSecret(password, 'the test'),
    },
    tls: { caFile: null, certFile: null, keyFile: null, keyPassphrase: null, ...tls },
    timeouts: { connectMs: 10_000 },
    env: {},
    clock: systemClock,
    log: quietLog,
    ...rest,
  });
  t.teardown(() => egress.close());
  return egress;
}

/** An undici agent as the gateway makes it, over the egress. */
export function dispatcherOver(t: TearsDown, egress: Egress, options: Agent.Options = {}): Dispatcher {
  const agent = new Agent({ connect: egress.connect, allowH2: false, ...options });
  t.teardown(() => agent.destroy());
  return agent;
}

export interface TestUpstream {
  readonly port: number;
  readonly requests: { method: string; url: string; headers: IncomingHttpHeaders }[];
  /** Connections accepted so far. */
  connections(): number;
}

/** Starts `server` on a free port of `host`, ends it and its connections with the test. */
export async function listenFor(t: TearsDown, server: Server, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** `GET /`, `POST /echo`, `GET /bytes/N` and `POST /oauth/token`; over TLS when `tls` is given. */
export async function startUpstream(t: TearsDown, tls?: https.ServerOptions, host?: string): Promise<TestUpstream> {
  const requests: TestUpstream['requests'] = [];
  let connections = 0;
  const serve: RequestListener = (request, response) => {
    const { method = '', url = '', headers } = request;
    requests.push({ method, url, headers });
    const bytes = /^\/bytes\/(\d+)$/.exec(url)?.[1];
    if (bytes) {
      response.writeHead(200, { 'content-length': bytes });
      Readable.from(patternOf(Number(bytes))).pipe(response);
    } else if (url === '/oauth/token') {
      request.resume().on('end', () => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ access_token: 'token-of-the-test', token_type: 'bearer', expires_in: 86_400 }));
      });
    } else if (url === '/echo') request.pipe(response);
    else response.end('hello');
  };
  const server = tls ? https.createServer(tls, serve) : http.createServer(serve);
  server.on('connection', () => {
    connections += 1;
  });
  return { port: await listenFor(t, server, host), requests, connections: () => connections };
}

/** The SHA-256 of what `GET /bytes/N` answers. */
export function hashOfBytes(length: number): string {
  const hash = createHash('sha256');
  for (const chunk of patternOf(length)) hash.update(chunk);
  return hash.digest('hex');
}

/** The SHA-256 of a stream, read to its end. */
export async function hashOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest('hex');
}

function* patternOf(length: number): Generator<Buffer> {
  const block = Buffer.from(Array.from({ length: 65_521 }, (_, index) => (index * 31) & 0xff));
  for (let left = length; left > 0; left -= block.length) yield left < block.length ? block.subarray(0, left) : block;
}
