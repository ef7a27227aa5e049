// Two gateways that share a store which is made to fail, with callers at both the whole time: one credential of a client,
// one of a person, and a session. What every row of the table of failures promises is checked here.

import type { Test } from 'tap';
import { type Clock, systemClock } from '../../src/clock.ts';
import type { CredentialConfig } from '../../src/config/gateway-config.ts';
import type { RedisStoreConfig } from '../../src/config/sections/store.ts';
import { COMMAND_DEADLINE_MS } from '../../src/redis/connection.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import type { CredentialStatus, StatusDocument } from '../../src/server/routes/status.ts';
import { credentialOf } from './clients.ts';
import { configAt, credentialAt, startGatewayWith } from './gateway.ts';
import { type Instance, openSession } from './instances.ts';
import { redisStore } from './redis-store.ts';

const DAY_S = 86_400;
const USERS = '/api/v2/users?pageSize=1';
const PERSON = 'ada.lindqvist@simulated-org.example';
const ANYWHERE = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

/** A token request may take so long: a lease is two seconds longer. */
const TOKEN_MS = 4_000;
const LEASE_MS = TOKEN_MS + 2_000;

/** What a command to a server that is there may take. */
export const PATIENT_MS = 15_000;

/** What a caller was told, and how often: `200`, `503 gateway.credential.unavailable`. */
export type Outcomes = Map<string, number>;

/** The platform and gateways before it. */
export interface Field {
  readonly sandbox: Sandbox;
  readonly origin: string;
  readonly instances: Instance[];
  /** A command to the store may take so long; longer at first than on a machine that is busy with other tests. */
  deadlineMs: number;
  /** The time passes in which nobody gets a lock after the store was away. */
  leaseIsOver(): void;
  /** Starts one more. Rejects as the start of a gateway does. */
  start(url: string, store?: Partial<RedisStoreConfig>, credentials?: readonly CredentialConfig[]): Promise<Instance>;
  /** Somebody logs in at an instance; their token lives for so long, and so do those that follow. */
  logIn(instance: Instance, lifeSeconds?: number): Promise<void>;
  /** Callers at all instances, from now on: of the client's credential, of the person's, of a session made at the first. */
  call(): Promise<{ stop(): Promise<Record<'service' | 'person' | 'session', Outcomes>> }>;
}

/** Makes the platform, which rotates strictly, and no gateway yet. */
export async function prepareField(t: Test): Promise<Field> {
  let aheadMs = 0;
  const clock: Clock = {
    ...systemClock,
    monotonic: () => systemClock.monotonic() + aheadMs,
    after: (ms, fn) => systemClock.after(ms === COMMAND_DEADLINE_MS ? field.deadlineMs : ms, fn),
  };
  const sandbox = createSandbox({ switches: { rotation: 'strict', login: { approve: PERSON } } });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const instances: Instance[] = [];
  const usual = [
    credentialAt(origin),
    credentialOf(origin, 'person', DEMO_CLIENTS.code, { grantType: 'authorization_code' }),
  ];
  const field: Field = {
    ...{ sandbox, origin, instances, deadlineMs: PATIENT_MS },
    leaseIsOver() {
      aheadMs += LEASE_MS;
    },
    async start(url, store = {}, credentials = usual) {
      const config = configAt(origin, {
        credentials,
        server: { adminListen: ANYWHERE, anonymousCredentials: credentials.map(({ name }) => name) },
        timeouts: { tokenMs: TOKEN_MS },
        reauthentication: { refreshTokenWaitMaxMs: 200 },
      });
      const instance = await startGatewayWith(t, { ...config, store: redisStore(url, store) }, clock);
      instances.push(instance);
      return instance;
    },
    async logIn({ gateway }, lifeSeconds = DAY_S) {
      sandbox.set({ tokenLifetimeS: lifeSeconds });
      const redirectUri = 'http://127.0.0.1/callback';
      const query = { client_id: DEMO_CLIENTS.code.id, redirect_uri: redirectUri, response_type: 'code' };
      const page = await fetch(`${origin}/oauth/authorize?${new URLSearchParams(query)}`, { redirect: 'manual' });
      const code = new URL(page.headers.get('location') ?? '').searchParams.get('code') as string;
      await gateway.runtime().credentials.get('person')?.redeem({ kind: 'code', code, redirectUri, verifier: null });
    },
    async call() {
      const outcomes = { service: new Map(), person: new Map(), session: new Map() };
      const session = await openSession(instances[0] as Instance, { sandbox, origin }, { refreshToken: null });
      for (const { url } of instances)
        await until('the session is known', async () => (await outcomeOf(`${url}${USERS}`, session)) === '200');
      let isStopped = false;
      const callers = instances.flatMap(({ url }) =>
        (['service', 'person', 'session'] as const).map(async (kind) => {
          const path = kind === 'person' ? '/person/api/v2/users/me' : USERS;
          while (!isStopped) {
            const outcome = await outcomeOf(`${url}${path}`, kind === 'session' ? session : {}).catch(
              (error: Error) => `no answer: ${error.message}`,
            );
            outcomes[kind].set(outcome, (outcomes[kind].get(outcome) ?? 0) + 1);
            await pause(100);
          }
        }),
      );
      const stop = async () => {
        isStopped = true;
        await Promise.all(callers);
        return outcomes;
      };
      t.teardown(stop);
      return { stop };
    },
  };
  return field;
}

/** How a call ended: its status, and the gateway's code where that refused it. A 503 without `Retry-After` is told. */
export async function outcomeOf(url: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await fetch(url, { headers });
  await answer.text();
  const code = answer.headers.get('x-gateway-error');
  const isWithout = answer.status === 503 && !answer.headers.has('retry-after');
  return [answer.status, ...(code === null ? [] : [code]), ...(isWithout ? ['without Retry-After'] : [])].join(' ');
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Resolves when a condition holds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 25_000; !(await holds()); await pause(20))
    if (Date.now() > end) throw new Error(`it never came to be: ${what}`);
}

export async function statusAt({ url }: Pick<Instance, 'url'>): Promise<StatusDocument> {
  return (await (await fetch(`${url}/-/status`)).json()) as StatusDocument;
}

/** What the status of an instance says of the person's credential. */
export async function personAt(instance: Instance): Promise<CredentialStatus> {
  const { credentials } = await statusAt(instance);
  return credentials.find(({ name }) => name === 'person') as CredentialStatus;
}

/** Resolves when the store of all these is in a state, as `/readyz` tells it; they are ready meanwhile. */
export async function untilStore(t: Test, instances: readonly Instance[], wanted: RegExp): Promise<void> {
  for (const { url } of instances) {
    await until(`the store is ${wanted}`, async () => {
      const answer = await fetch(`${url}/readyz`);
      const body = (await answer.json()) as { status: string; store: { state: string } };
      if (answer.status !== 200) t.fail(`not ready: ${JSON.stringify(body)}`);
      return wanted.test(body.store.state);
    });
  }
}

/** The states of the store that the gateway told, after the first connection: `down`, `ok`. Another reason is no other. */
export function statesTold({ log }: Instance): unknown[] {
  const states = log.lines.filter(({ msg }) => /^the store is /.test(msg)).map(({ fields }) => fields.state);
  const later = states.slice(states.indexOf('ok') + 1);
  return later.filter((state, at) => state !== later[at - 1]);
}

/** A renewal of the person's token at one instance; resolves when all have what it brought. Redis may just be back. */
export async function renewEverywhere(t: Test, field: Field, at = 1): Promise<void> {
  const { instances } = field;
  const renewing = instances[at % instances.length] as Instance;
  const source = renewing.gateway.runtime().credentials.get('person')?.source;
  const before = (await personAt(renewing)).fingerprint;
  field.leaseIsOver();
  await until('it is renewed', async () => {
    await source?.refresh().catch(() => undefined);
    return (await personAt(renewing)).fingerprint !== before;
  });
  await until('all have one token', async () => {
    const all = await Promise.all(instances.map((one) => personAt(one)));
    return new Set(all.map(({ fingerprint }) => fingerprint)).size === 1 && all[0]?.token === 'fresh';
  });
  for (const { url } of instances) t.equal(await outcomeOf(`${url}/person/api/v2/users/me`), '200');
}

/** What callers may be told in a row. */
interface Told {
  /** Whether the person had a valid token everywhere the whole time. */
  readonly isPersonServed: boolean;
  /** Whether a token ends while it is used: on a busy machine it may end between its sending and its arrival. */
  readonly isTokenEnding?: boolean;
}

/** What holds in every row, whatever happened to the store. */
export function judge(
  t: Test,
  { sandbox }: Field,
  outcomes: Record<'service' | 'person' | 'session', Outcomes>,
  { isPersonServed, isTokenEnding = false }: Told,
): void {
  const { unauthenticatedCalls, unknownTokenCalls, expiredTokenCalls, refreshReuse } = sandbox.stats;
  t.same(
    { unauthenticatedCalls, unknownTokenCalls, expiredTokenCalls: isTokenEnding ? 0 : expiredTokenCalls, refreshReuse },
    { unauthenticatedCalls: 0, unknownTokenCalls: 0, expiredTokenCalls: 0, refreshReuse: 0 },
    'nothing without a valid token reached the platform, and no refresh token that was superseded',
  );
  t.same([...outcomes.service.keys()], ['200'], 'who has a valid token notices nothing');
  t.same([...outcomes.session.keys()], ['200'], 'nor does a session that is known');
  const allowed = isPersonServed
    ? ['200']
    : ['200', '503 gateway.credential.unavailable', '504 gateway.credential.timeout'];
  const others = [...outcomes.person].filter(([outcome]) => !allowed.includes(outcome));
  t.same(others, [], 'nobody is told 401');
}
