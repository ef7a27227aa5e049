// "Equal to a direct call": the same octets sent to an upstream straight and through the gateway, both sides taken
// apart and compared.

import type { Socket } from 'node:net';
import type { Test } from 'tap';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import type { Gateway } from '../../src/gateway.ts';
import { inlineSecret } from '../../src/secret.ts';
import { type ConfigOverrides, configAt, credentialAt, startGatewayWith, type TestLog } from './gateway.ts';
import { exchangeRaw, startRawUpstream } from './raw-http.ts';

/** The token of `startBefore`: recognisable on the wire. */
export const GIVEN_TOKEN = 'given-token-of-the-gateway';

/** A gateway before a raw upstream, with a token that needs no token endpoint. */
export interface RawPair {
  readonly port: number;
  readonly url: string;
  readonly upstreamPort: number;
  readonly requests: string[];
  readonly upstreamSockets: Set<Socket>;
  readonly gateway: Gateway;
  readonly log: TestLog;
  readonly config: GatewayConfig;
}

/** The configuration of a gateway that holds `GIVEN_TOKEN`, calls `origin`, and tries once. */
export function givenTokenConfig(origin: string, overrides: ConfigOverrides = {}): GatewayConfig {
  const credential = credentialAt(origin, {
    grantType: 'access_token',
    clientId: null,
    clientSecret: null,
    accessToken: inlineSecret(GIVEN_TOKEN, 'test'),
  });
  return configAt(origin, { credentials: [credential], retry: { max: 0 }, ...overrides });
}

/** Starts both; `answer` writes whatever it likes for each whole request. */
export async function startBefore(
  t: Test,
  answer: (socket: Socket, request: string) => void,
  overrides: ConfigOverrides = {},
): Promise<RawPair> {
  const upstream = await startRawUpstream(t, answer);
  const config = givenTokenConfig(upstream.origin, overrides);
  const { gateway, port, url, log } = await startGatewayWith(t, config);
  return {
    port,
    url,
    upstreamPort: upstream.port,
    requests: upstream.requests,
    upstreamSockets: upstream.sockets,
    gateway,
    log,
    config,
  };
}

/** Left out on both sides before comparing, as the contract says. */
const LEFT_OUT = /^(connection|keep-alive|transfer-encoding|host|authorization|x-gateway-.*)$/i;
/**
 * What is added to an answer that a browser would render, one without a type for one. That others have none of it:
 * answers-rendered.test.ts.
 */
const SANDBOX = new Set(['content-security-policy: sandbox', 'x-content-type-options: nosniff']);

/** A message without what may differ. Content-Length is apart, because its place and casing are the sender's. */
export interface Comparable {
  readonly startLine: string;
  readonly headers: readonly string[];
  readonly contentLength: string | null;
  readonly body: string;
}

/** Takes a raw message apart and leaves out what may differ. */
export function comparable(message: string): Comparable {
  const end = message.indexOf('\r\n\r\n');
  const [startLine = '', ...lines] = message.slice(0, end).split('\r\n');
  const nameOf = (line: string) => line.slice(0, line.indexOf(':'));
  const length = lines.find((line) => /^content-length$/i.test(nameOf(line)));
  const value = length === undefined ? null : length.slice(length.indexOf(':') + 1).trim();
  const isChunked = lines.some((line) => /^transfer-encoding: *chunked$/i.test(line));
  const rest = message.slice(end + 4);
  return {
    startLine,
    // White space round a value is no part of it (RFC 9112, section 5).
    headers: lines
      .filter((line) => !LEFT_OUT.test(nameOf(line)) && line !== length && !SANDBOX.has(line.toLowerCase()))
      .map((line) => line.replace(/:[ \t]*/, ': ').trimEnd()),
    contentLength: value === '0' ? null : value,
    body: isChunked ? unchunked(rest) : rest,
  };
}

/**
 * One case: what the caller sends, what the upstream answers, and when an answer is whole (default: one with a length
 * or chunks).
 */
export interface DirectCase {
  readonly request: string;
  readonly answer?: string;
  /** The upstream ends the connection after its answer. */
  readonly closes?: boolean;
  readonly isDone?: (received: string) => boolean;
}

/** Sends the case straight and through a gateway, and asserts that upstream and caller cannot tell. */
export async function sameAsDirect(
  t: Test,
  { request, answer = NO_CONTENT, closes = false, isDone }: DirectCase,
): Promise<void> {
  const pair = await startBefore(t, (socket) => {
    socket.write(Buffer.from(answer, 'latin1'));
    if (closes) socket.end();
  });
  const straight = await exchangeRaw(pair.upstreamPort, request, isDone);
  const through = await exchangeRaw(pair.port, request, isDone);
  t.equal(pair.requests.length, 2, 'the upstream saw both requests');
  t.strictSame(
    comparable(pair.requests[1] as string),
    comparable(pair.requests[0] as string),
    'the upstream cannot tell',
  );
  t.strictSame(comparable(through), comparable(straight), 'the caller cannot tell');
  const authorization = (pair.requests[1] as string).match(/^authorization:.*$/gim);
  t.strictSame(authorization, [`Authorization: Bearer ${GIVEN_TOKEN}`], 'one Authorization, ours');
}

/** The shortest answer. */
export const NO_CONTENT = 'HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n';

/** An answer with a counted body. */
export function ok(body = '', headers: readonly string[] = []): string {
  return (
    `HTTP/1.1 200 OK\r\n${headers.map((line) => `${line}\r\n`).join('')}Content-Length: ` +
    `${Buffer.byteLength(body, 'latin1')}\r\n\r\n${body}`
  );
}

/** Whether the head of an answer is there: all there is to wait for after HEAD. */
export function isHead(received: string): boolean {
  return received.endsWith('\r\n\r\n');
}

/** Never: wait until the peer closes. */
export const untilClose = (): boolean => false;

function unchunked(text: string): string {
  let rest = text;
  let body = '';
  for (;;) {
    const end = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.slice(0, end), 16);
    if (!size) return body;
    body += rest.slice(end + 2, end + 2 + size);
    rest = rest.slice(end + 2 + size + 2);
  }
}
