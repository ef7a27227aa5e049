// Starts a simulation on a free port for a test and talks to it with fetch and raw sockets; ends it with the test.

import { connect } from 'node:net';
import { DEMO_CLIENTS } from '../../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox, type SandboxOptions } from '../../../src/sandbox/sandbox.ts';

export interface FakeNow {
  now(): number;
  advance(ms: number): void;
}

/** A clock that moves only when told. */
export function createNow(startAt = Date.UTC(2026, 0, 1)): FakeNow {
  let at = startAt;
  return {
    now: () => at,
    advance(ms) {
      at += ms;
    },
  };
}

export const basic = ({ id, secret = '' }: { id: string; secret?: string }) =>
  `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of every shape are asserted on.
  body: any;
  text: string;
}

export interface Running {
  sandbox: Sandbox;
  origin: string;
  clock: FakeNow;
  /** POSTs a form to the token endpoint, as the client credentials client unless told otherwise. */
  token(form?: Record<string, string>, authorization?: string | null): Promise<Answer>;
  call(path: string, init?: RequestInit & { token?: string }): Promise<Answer>;
}

async function read(response: Response): Promise<Answer> {
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return { status: response.status, headers: response.headers, body, text };
}

export async function start(t: { teardown(fn: () => unknown): void }, options: SandboxOptions = {}): Promise<Running> {
  const clock = createNow();
  const sandbox = createSandbox({ clock, ...options });
  const { origin } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  return {
    sandbox,
    origin,
    clock,
    async token(form = { grant_type: 'client_credentials' }, authorization = basic(DEMO_CLIENTS.clientCredentials)) {
      const headers: Record<string, string> = authorization === null ? {} : { Authorization: authorization };
      return read(await fetch(`${origin}/oauth/token`, { method: 'POST', headers, body: new URLSearchParams(form) }));
    },
    async call(path, { token, ...init } = {}) {
      const shown = token ?? sandbox.issueToken().value;
      const headers = new Headers(init.headers);
      if (shown !== '') headers.set('Authorization', `Bearer ${shown}`);
      return read(await fetch(`${origin}${path}`, { ...init, headers }));
    },
  };
}

/** Sends octets and gives all that comes back until the other side ends. */
export function exchangeRaw(origin: string, octets: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(origin);
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname, () => socket.write(octets));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
  });
}
