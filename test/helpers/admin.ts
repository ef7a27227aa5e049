// A gateway that serves its admin pages, and a browser's cookie and redirects by hand.

import type { Test } from 'tap';
import type { CredentialConfig } from '../../src/config/gateway-config.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { inlineSecret } from '../../src/secret.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { type ConfigOverrides, credentialAt, type StartOptions, startGateway, type TestGateway } from './gateway.ts';

const ANYWHERE = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

/** A credential for each grant with a person, the one named first being the default. */
export function personAt(
  origin: string,
  grantType: 'pkce' | 'authorization_code' | 'implicit',
  overrides: Partial<CredentialConfig> = {},
): CredentialConfig {
  const client = { pkce: DEMO_CLIENTS.pkce, authorization_code: DEMO_CLIENTS.code, implicit: DEMO_CLIENTS.implicit }[
    grantType
  ];
  const clientSecret = 'secret' in client ? inlineSecret(client.secret, 'test') : null;
  return credentialAt(origin, { name: 'crm', grantType, clientId: client.id, clientSecret, ...overrides });
}

/** A gateway whose data listener serves the admin pages, as on loopback by default. */
export function startAdminGateway(
  t: Test,
  options: StartOptions & { credentials?: (origin: string) => CredentialConfig[]; overrides?: ConfigOverrides } = {},
): Promise<TestGateway> {
  const { credentials, overrides = {}, ...rest } = options;
  return startGateway(t, {
    awaitReady: credentials === undefined,
    ...rest,
    config: (origin) => ({
      ...overrides,
      server: { adminListen: ANYWHERE, ...overrides.server },
      ...(credentials && { credentials: credentials(origin) }),
    }),
  });
}

/** Changes something, as `gcg` does. */
export function change(url: string, body?: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'X-Gateway-Request': '1', ...headers },
    ...(body !== undefined && { body }),
  });
}

/** A browser reduced to its cookies; it follows nothing by itself. */
export interface CookieJar {
  /** The Cookie header for a host. */
  cookieFor(hostname: string): string;
  get(url: string): Promise<Response & { location: string }>;
}

/** Keeps cookies by host and name, as browsers do not: paths are not looked at. */
export function createCookieJar(): CookieJar {
  const jars = new Map<string, Map<string, string>>();
  const cookieFor = (hostname: string) =>
    [...(jars.get(hostname) ?? [])].map(([name, value]) => `${name}=${value}`).join('; ');
  return {
    cookieFor,
    async get(url) {
      const { hostname } = new URL(url);
      const jar = jars.get(hostname) ?? new Map<string, string>();
      jars.set(hostname, jar);
      const response = await fetch(url, {
        redirect: 'manual',
        ...(jar.size > 0 && { headers: { cookie: cookieFor(hostname) } }),
      });
      for (const line of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        jar.set(name, value);
      }
      return Object.assign(response, { location: new URL(response.headers.get('location') ?? url, url).href });
    },
  };
}

/** The status document. */
export async function statusOf(url: string): Promise<StatusDocument> {
  return (await (await fetch(`${url}/-/status`)).json()) as StatusDocument;
}
