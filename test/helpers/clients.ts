// Clients of the gateway, the credentials of the simulation for each grant, and a listening wire, for tests of the
// facade and its neighbours.

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { ClientConfig, CredentialConfig } from '../../src/config/gateway-config.ts';
import { DEMO_CLIENTS, type SandboxClient } from '../../src/sandbox/clients.ts';
import { inlineSecret } from '../../src/secret.ts';
import { credentialAt } from './gateway.ts';

/** A client with the secret `NAME-secret` and no rules. */
export function clientNamed(name: string, overrides: Partial<ClientConfig> = {}): ClientConfig {
  return {
    name,
    secret: inlineSecret(`${name}-secret`, 'test'),
    secretSha256: [],
    certSubject: null,
    credentials: [],
    allow: [],
    deny: [],
    mode: 'enforce',
    isAdmin: false,
    expiresAt: null,
    from: [],
    requestsPerMinute: null,
    requestsPerMonth: null,
    overBudget: 'warn',
    inspect: 'none',
    location: 'test',
    ...overrides,
  };
}

/** A credential of one of the simulation's clients, not required and not the default. */
export function credentialOf(
  origin: string,
  name: string,
  client: Pick<SandboxClient, 'id' | 'secret'>,
  overrides: Partial<CredentialConfig> = {},
): CredentialConfig {
  return credentialAt(origin, {
    name,
    clientId: client.id,
    isDefault: false,
    isRequired: false,
    clientSecret: client.secret === undefined ? null : inlineSecret(client.secret, 'test'),
    ...overrides,
  });
}

/** One credential per grant: `default` by client credentials, `web` by code, `desktop` by PKCE, `bridge` by SAML. */
export function allCredentials(origin: string): CredentialConfig[] {
  const { code, pkce, saml2Bearer } = DEMO_CLIENTS;
  return [
    credentialAt(origin),
    credentialOf(origin, 'web', code, { grantType: 'authorization_code' }),
    credentialOf(origin, 'desktop', pkce as SandboxClient, { grantType: 'pkce' }),
    credentialOf(origin, 'bridge', saml2Bearer, { grantType: 'saml2_bearer' }),
  ];
}

/** `Basic …`. */
export const basic = (id: string, secret: string) => `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;

/** A SAML assertion, base64, that the simulation takes for one of the user. */
export function assertionFor(email: string, notOnOrAfter = '2099-01-01T00:00:00Z'): string {
  const xml =
    `<saml:Assertion><saml:Subject><saml:NameID>${email}</saml:NameID></saml:Subject><saml:Conditions ` +
    `NotOnOrAfter="${notOnOrAfter}"/></saml:Assertion>`;
  return Buffer.from(xml).toString('base64');
}

/** What a token endpoint answered. */
export interface TokenAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: {
    access_token: string;
    token_type: string;
    expires_in: number;
    refresh_token?: string;
    error?: string;
    description?: string;
    error_description?: string;
  };
}

/** Posts a form to a token endpoint. */
export async function postToken(
  url: string,
  form: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<TokenAnswer> {
  const answer = await fetch(url.includes('/oauth/token') ? url : `${url}/oauth/token`, {
    method: 'POST',
    headers,
    body: new URLSearchParams(form),
  });
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as TokenAnswer['body'] };
}

/**
 * Follows a login from an authorize URL to the code, with the `login` switch of the simulation set. `firstHop` is where
 * the gateway sent the browser.
 */
export async function followLogin(
  authorizeUrl: string,
): Promise<{ firstHop: URL; code: string; state: string | null }> {
  const first = await fetch(authorizeUrl, { redirect: 'manual' });
  const firstHop = new URL(first.headers.get('location') ?? 'missing:');
  const second = await fetch(firstHop, { redirect: 'manual' });
  const callback = new URL(second.headers.get('location') ?? 'missing:');
  return { firstHop, code: callback.searchParams.get('code') ?? '', state: callback.searchParams.get('state') };
}

/** A wire that remembers every octet that passed, both ways. `port` may be led elsewhere while it lies. */
export interface Wire {
  readonly url: string;
  readonly port: number;
  text(): string;
  leadTo(port: number): void;
}

/** Lays a wire to a port on loopback; it ends with the test. */
export async function layWire(t: Test, target: number): Promise<Wire> {
  let to = target;
  const chunks: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    text: () => Buffer.concat(chunks).toString('latin1'),
    leadTo(next) {
      to = next;
      for (const socket of sockets) socket.destroy();
    },
  };
}
