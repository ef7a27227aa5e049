// What the token tests share: a source under a fake clock, a scripted token endpoint, configurations, a log that is
// kept.

import { type CredentialsDeps, createCredentials } from '../../../src/auth/credentials/credentials.ts';
import { type RefreshingSourceDeps, RefreshingTokenSource } from '../../../src/auth/credentials/refreshing-source.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import type { TokenTransport } from '../../../src/auth/credentials/token-endpoint.ts';
import {
  type AcquireReason,
  createToken,
  type Token,
  type TokenTransition,
} from '../../../src/auth/credentials/token-source.ts';
import type { CredentialConfig, GatewayConfig, UpstreamHosts } from '../../../src/config/gateway-config.ts';
import { bareCredential } from '../../../src/config/sections/credential.ts';
import type { Log } from '../../../src/logging/log.ts';
import { inlineSecret, Secret } from '../../../src/secret.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';

export interface LogRecord {
  level: string;
  msg: string;
  fields: Record<string, unknown>;
}

export function createLogRecorder(): Log & { records: LogRecord[] } {
  const records: LogRecord[] = [];
  const at = (level: string) => (fields: Record<string, unknown>, msg: string) => {
    records.push({ level, msg, fields });
  };
  return { records, error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
}

/** A source over an `acquire` that the test scripts: each entry answers one attempt, the last one all that follow. */
export function sourceUnderTest(
  script: ((clock: FakeClock, request: { reason: AcquireReason; previous: Token | null }) => Token | Promise<Token>)[],
  overrides: Partial<RefreshingSourceDeps> = {},
) {
  const clock = (overrides.clock as FakeClock | undefined) ?? createFakeClock();
  const log = createLogRecorder();
  const transitions: TokenTransition[] = [];
  const reasons: AcquireReason[] = [];
  const attemptedAt: number[] = [];
  const source = new RefreshingTokenSource({
    name: 'crm',
    acquire: async (request) => {
      const answer = script[Math.min(reasons.length, script.length - 1)]!;
      reasons.push(request.reason);
      attemptedAt.push(clock.monotonic());
      return answer(clock, request);
    },
    random: () => 0,
    settings: { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 },
    log,
    onTransition: (transition) => transitions.push(transition),
    ...overrides,
    clock,
  });
  return { source, clock, log, transitions, reasons, attemptedAt };
}

let issued = 0;

/** A fresh token with the given life. */
export function tokenFor(clock: FakeClock, lifeMs: number, value?: string): Token {
  issued += 1;
  return createToken({
    accessToken: new Secret(value ?? `token-${issued}`),
    obtainedAt: clock.now(),
    expiresAt: clock.now() + lifeMs,
  });
}

export const HOSTS: UpstreamHosts = {
  domain: 'mypurecloud.de',
  api: { origin: 'https://api.mypurecloud.de', pathPrefix: '' },
  login: { origin: 'https://login.mypurecloud.de', pathPrefix: '' },
  streaming: { origin: 'wss://streaming.mypurecloud.de', pathPrefix: '' } as UpstreamHosts['streaming'],
};

export function credentialConfig(overrides: Partial<CredentialConfig> = {}): CredentialConfig {
  return {
    ...bareCredential({ name: 'crm', grantType: 'client_credentials', hosts: HOSTS, location: 'gcg.ini:1' }),
    clientId: 'client-1',
    clientSecret: inlineSecret('secret-canary-1', 'test'),
    isDefault: true,
    isRequired: true,
    ...overrides,
  };
}

export type ScriptedReply = {
  statusCode?: number;
  headers?: Record<string, string>;
  body?: string | Record<string, unknown>;
};
export type SentRequest = Parameters<TokenTransport>[0];

/** A token endpoint that answers by a script; a function may answer late or throw. */
export function scriptedTransport(
  script: (ScriptedReply | ((request: SentRequest) => ScriptedReply | Promise<ScriptedReply>))[],
) {
  const requests: SentRequest[] = [];
  const transport: TokenTransport = async (request) => {
    const next = script[Math.min(requests.length, script.length - 1)]!;
    requests.push(request);
    const { statusCode = 200, headers = {}, body = '' } = await (typeof next === 'function' ? next(request) : next);
    return { statusCode, headers, body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) };
  };
  return { transport, requests, form: (index: number) => [...new URLSearchParams(requests[index]?.body)] };
}

/** A good reply. */
export function granted(accessToken: string, fields: Record<string, unknown> = {}): ScriptedReply {
  return { body: { access_token: accessToken, token_type: 'bearer', expires_in: 86_400, ...fields } };
}

/** A registry over one scripted endpoint. */
export function credentialsUnderTest(
  credentials: CredentialConfig[],
  script: Parameters<typeof scriptedTransport>[0],
  overrides: Partial<CredentialsDeps> & { reauthentication?: Partial<GatewayConfig['reauthentication']> } = {},
) {
  const clock = (overrides.clock as FakeClock | undefined) ?? createFakeClock();
  const log = createLogRecorder();
  const endpoint = scriptedTransport(script);
  const store = overrides.store ?? createMemoryStore({ clock });
  const config = {
    credentials,
    reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000, ...overrides.reauthentication },
    timeouts: { connectMs: 5_000, tokenMs: 4_000, headersMs: 60_000, bodyMs: 300_000, totalWaitMs: 15_000 },
    store: { type: 'memory', path: '/nowhere', prefix: 'gcg', encryptionKey: null, encryptionKeyPrevious: null },
  } as unknown as GatewayConfig;
  const registry = createCredentials({
    config,
    transport: endpoint.transport,
    store,
    random: () => 0,
    log,
    ...overrides,
    clock,
  });
  return { registry, clock, log, store, ...endpoint };
}
