// Several instances with one Redis, each with sources of its own: what one obtains serves all, a refresh token is sent
// by one at a time, and without Redis by nobody. A platform that rotates strictly is the judge.

import t, { type Test } from 'tap';
import { createCredentials } from '../../../src/auth/credentials/credentials.ts';
import { TokenFailure } from '../../../src/auth/credentials/token-source.ts';
import { systemClock } from '../../../src/clock.ts';
import type { CredentialConfig, GatewayConfig } from '../../../src/config/gateway-config.ts';
import type { GatewayError } from '../../../src/errors.ts';
import { inlineSecret } from '../../../src/secret.ts';
import { type RedisProcess, startRedis, withoutRedis } from '../../helpers/redis-process.ts';
import { credentialConfig, type ScriptedReply, scriptedTransport } from './fixtures.ts';
import { openInstance } from './redis-fixtures.ts';

const PERSON = credentialConfig({ grantType: 'pkce', clientSecret: null });
/** Longer than a busy machine keeps a process waiting: a request that is given up is one that the platform had rotated. */
const REQUEST_MS = 2_000;
/** The time between taking a lock and the request under it; with that a lease. */
const MARGIN_MS = 2_500;

/** A platform with strict rotation: a refresh token is good once, and a second use ends the login. */
class Platform {
  good = 'rt-0';
  readonly shown: string[] = [];
  lifeSeconds = 3_600;
  delayMs = 20;
  #tokens = 0;
  #underWay = 0;
  asked = 0;
  mostAtOnce = 0;

  readonly answer = async ({ body }: { readonly body: string }): Promise<ScriptedReply> => {
    const form = new URLSearchParams(body);
    this.asked += 1;
    this.#underWay += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#underWay);
    try {
      await new Promise((resolve) => setTimeout(resolve, this.delayMs));
      return this.#answer(form);
    } finally {
      this.#underWay -= 1;
    }
  };

  #answer(form: URLSearchParams): ScriptedReply {
    const used = form.get('refresh_token') ?? form.get('grant_type') ?? '';
    this.shown.push(used);
    if (form.get('grant_type') === 'refresh_token' && used !== this.good) {
      this.good = 'nothing';
      return { statusCode: 400, body: { error: 'invalid_grant' } };
    }
    this.#tokens += 1;
    const isPerson = form.get('grant_type') !== 'client_credentials';
    if (isPerson) this.good = `rt-${this.#tokens}`;
    const body = { access_token: `at-${this.#tokens}`, token_type: 'bearer', expires_in: this.lifeSeconds };
    return { body: { ...body, ...(isPerson && { refresh_token: this.good }) } };
  }
}

if (withoutRedis) t.plan(0, withoutRedis);
else {
  // Most of their time they wait a second between two requests: each has a server of its own, and all run at once.
  t.jobs = 5;
  const held = setInterval(() => {}, 1_000_000);
  t.teardown(() => clearInterval(held));
  const until = async (what: string, holds: () => boolean) => {
    for (const end = Date.now() + 60_000; !holds(); await new Promise((resolve) => setTimeout(resolve, 10)))
      if (Date.now() > end) throw new Error(`it never came to be: ${what}`);
  };

  /** One instance with one credential. */
  async function instance(t: Test, server: RedisProcess, platform: Platform, credential: CredentialConfig) {
    const opened = await openInstance(t, { socket: server.socket, prefix: 'gcg', leaseMarginMs: MARGIN_MS });
    const config = {
      credentials: [credential],
      reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 },
      timeouts: { tokenMs: REQUEST_MS },
    } as unknown as GatewayConfig;
    const { transport } = scriptedTransport([platform.answer]);
    const deps = { config, transport, clock: systemClock, random: Math.random, ...opened };
    const credentials = createCredentials(deps);
    t.teardown(() => credentials.close());
    const own = credentials.default()!;
    return { ...opened, credentials, own, source: own.source, at: () => own.source.current()?.accessToken.reveal() };
  }

  /** A renewal of its own: one that has just begun, because another instance stored something, would only read. */
  async function renewed({ source }: Awaited<ReturnType<typeof instance>>) {
    await until('it is idle', () => source.state().renewal !== 'running');
    return source.refresh();
  }

  const code = { kind: 'code', code: 'c', redirectUri: 'http://localhost/', verifier: 'v'.repeat(43) } as const;

  /** Instances of one gateway; somebody has logged in at the first. */
  async function loggedIn(t: Test, count: number) {
    const [platform, server] = [new Platform(), await startRedis(t)];
    const all = await Promise.all(Array.from({ length: count }, () => instance(t, server, platform, PERSON)));
    for (const { credentials } of all) credentials.start();
    await all[0]!.own.redeem(code);
    return { platform, server, all };
  }

  t.test('a login at one instance serves the others at once, and one renews for all', { buffered: true }, async (t) => {
    const { platform, all } = await loggedIn(t, 3);
    await until('all have it', () => all.every(({ at }) => at() === 'at-1'));
    const [first, ...others] = all.map(({ connection }) => connection.instanceId);
    t.same(new Set(all.map(({ own }) => own.peers()?.renewedBy)), new Set([first]), 'all know by whom');
    t.same(
      all.map(({ store }) => store.instances.tokensFromPeers),
      [0, 1, 1],
    );
    t.not(others[0], first);
    await Promise.all(all.map(({ source }) => source.refresh().catch(() => undefined)));
    await until('all have the last', () => new Set(all.map(({ at }) => at())).size === 1);
    t.equal(platform.mostAtOnce, 1);
    t.not(platform.good, 'nothing', 'nothing that was superseded was sent');
    const asked = platform.shown.length;
    all[1]!.source.invalidate(all[1]!.source.current()!, '/a');
    await until('a 401 has one token for all', () => all.every(({ at }) => at() === `at-${asked + 1}`));
    t.equal(platform.shown.length, asked + 1);
  });

  t.test('tokens that end at the same moment are renewed by one', { buffered: true }, async (t) => {
    const [platform, server] = [new Platform(), await startRedis(t)];
    platform.lifeSeconds = 2;
    const all = await Promise.all([1, 2, 3].map(() => instance(t, server, platform, PERSON)));
    for (const { credentials } of all) credentials.start();
    await all[0]!.own.redeem(code);
    await until('it was renewed three times', () => platform.shown.length >= 4);
    platform.lifeSeconds = 3_600;
    const asked = platform.shown.length;
    await until('all have a long one', () => all.every(({ source }) => source.leftMs() > 60_000));
    t.ok(platform.shown.length <= asked + 1);
    t.match([platform.mostAtOnce, platform.good], [1, /^rt-/]);
  });

  t.test(
    'without Redis no refresh token is sent: a valid token is used to its end, then it is 503',
    { buffered: true },
    async (t) => {
      const { platform, server, all } = await loggedIn(t, 2);
      await until('both have it', () => all.every(({ at }) => at() === 'at-1'));
      const asked = platform.shown.length;
      await server.kill();
      for (const one of all) {
        const { source, own } = one;
        await t.rejects(renewed(one), { code: 'gateway.credential.unavailable' });
        t.equal(source.current()?.accessToken.reveal(), 'at-1');
        source.drop(new TokenFailure('login_required', 'as if it had ended'));
        t.equal(own.tokenState(), 'none');
        await source.refresh().catch(() => undefined);
        const error: GatewayError = await source.token(100).then(
          () => t.fail('there is none'),
          (thrown) => thrown,
        );
        t.equal(error.code, 'gateway.credential.unavailable');
        t.ok(Number(error.retryAfterMs) <= 1_000, 'it may be back at once');
      }
      t.equal(platform.shown.length, asked);
      await server.restart({ empty: true });
      await until('they are back by themselves', () => all.every(({ at }) => at() === 'at-1'));
      t.equal((await renewed(all[1]!)).accessToken.reveal(), 'at-2');
      t.equal(platform.shown.at(-1), 'rt-1', 'the empty server was told what they know');
    },
  );

  t.test(
    'Redis gone while the platform answers: what it gave is used, and told when that is possible',
    { buffered: true },
    async (t) => {
      const { platform, server, all } = await loggedIn(t, 2);
      platform.delayMs = 200;
      const refreshed = renewed(all[0]!);
      await until('it was asked', () => platform.asked === 2);
      await server.kill();
      t.equal((await refreshed).accessToken.reveal(), 'at-2');
      t.match(all[0]!.source.state(), { token: 'fresh', storeError: /Redis/ });
      await server.restart({ empty: true });
      await until('the other has it', () => all[1]!.at() === 'at-2');
      platform.delayMs = 20;
      await renewed(all[1]!);
      t.equal(platform.shown.at(-1), 'rt-2');
      await until('nothing is wrong any more', () => all[0]!.source.state().storeError === null);
      const lines = all.flatMap(({ log }) => log.records).filter(({ msg }) => msg.startsWith('token store'));
      t.notOk(
        lines.some(({ level }) => level === 'error'),
        'one line of the connection is enough',
      );
    },
  );

  t.test('a refused refresh token is asked for once, by one; a login mends all', { buffered: true }, async (t) => {
    const { platform, all } = await loggedIn(t, 3);
    await until('all have it', () => all.every(({ at }) => at() === 'at-1'));
    platform.good = 'nothing';
    await t.rejects(renewed(all[0]!), { code: 'gateway.login.required', message: /refused/ });
    const asked = platform.shown.length;
    all[1]!.source.invalidate(all[1]!.source.current()!, '/a');
    await until('it is told', () => all[1]!.source.state().renewal === 'login_required');
    t.equal(platform.shown.length, asked);
    await all[2]!.own.redeem(code);
    await until('all are well', () => all.every(({ source }) => source.state().renewal === 'idle'));
    await until('all have it', () => all.every(({ at }) => at() === all[2]!.at()));
  });

  t.test(
    'an instance that ended in the middle of a refresh is named when the platform refuses',
    { buffered: true },
    async (t) => {
      const { platform, server, all } = await loggedIn(t, 2);
      await until('both have it', () => all.every(({ at }) => at() === 'at-1'));
      const [a, b] = all as [(typeof all)[0], (typeof all)[0]];
      // It has rotated the token, and nobody hears of it.
      const lock = await a.store.lock({ name: 'crm', clientId: 'client-1', host: PERSON.hosts.login.origin }, 2_000);
      await lock.begin(await lock.entry());
      platform.good = 'rt-lost';
      await a.close();
      await server.command('DEL', ...(await server.command<string[]>('KEYS', '*lock*')));
      await t.rejects(renewed(b), { message: /an instance ended in the middle of the last refresh.*gcg login/ });
    },
  );

  t.test('a logout at one instance is one at all: the token is not used any more', { buffered: true }, async (t) => {
    const each = [PERSON, credentialConfig(), credentialConfig({ tokens: 3 })].map(async (credential) => {
      const [platform, server] = [new Platform(), await startRedis(t)];
      const all = await Promise.all([1, 2].map(() => instance(t, server, platform, credential)));
      for (const { credentials } of all) credentials.start();
      if (credential === PERSON) await all[0]!.own.redeem(code);
      await until('both have one', () => all.every(({ source }) => source.current() !== null));
      await all[0]!.own.logout();
      await until('it has ended everywhere', () => all.every(({ source }) => source.current() === null));
      for (const { source } of all) await t.rejects(source.token(), { code: 'gateway.login.required' });
      const later = await instance(t, server, platform, credential);
      await t.rejects(later.source.token(), { code: 'gateway.login.required', message: /was logged out/ });
      if (credential === PERSON) await all[1]!.own.redeem(code);
      else await all[1]!.own.refresh();
      await until('and is back everywhere', () => [...all, later].every(({ source }) => source.current() !== null));
    });
    await Promise.all(each);
  });

  t.test(
    'client credentials: one request serves all; without Redis each asks for itself',
    { buffered: true },
    async (t) => {
      const [platform, server] = [new Platform(), await startRedis(t)];
      const make = () => instance(t, server, platform, credentialConfig());
      const all = await Promise.all([make(), make(), make()]);
      for (const { credentials } of all) credentials.start();
      await until('all have one', () => all.every(({ at }) => at() === 'at-1'));
      t.equal(platform.shown.length, 1);
      all[2]!.source.invalidate(all[2]!.source.current()!, '/a');
      await until('all have another', () => all.every(({ at }) => at() === 'at-2'));
      t.equal(platform.shown.length, 2);
      await server.kill();
      const [first, second] = await Promise.all([renewed(all[0]!), renewed(all[1]!)]);
      t.not(first.fingerprint, second.fingerprint);
      t.match(all[0]!.source.state(), { token: 'fresh', storeError: /Redis/ });
      await server.restart({ empty: true });
      await until('they agree again', () => new Set(all.map(({ at }) => at())).size === 1);
      t.equal(platform.shown.length, 4);
    },
  );

  t.test(
    'a refresh token that is configured begins one chain for all, also over restarts',
    { buffered: true },
    async (t) => {
      const [platform, server] = [new Platform(), await startRedis(t)];
      const seeded = { ...PERSON, refreshToken: inlineSecret('rt-0', 'test') };
      const all = await Promise.all([1, 2].map(() => instance(t, server, platform, seeded)));
      await Promise.all(all.map(({ source }) => source.token()));
      await renewed(all[0]!);
      const later = await instance(t, server, platform, seeded);
      t.equal((await later.source.token()).accessToken.reveal(), 'at-2');
      t.strictSame(platform.shown, ['rt-0', 'rt-1']);
    },
  );

  t.test('a renewal costs four commands, and a call none', { buffered: true }, async (t) => {
    const [platform, server] = [new Platform(), await startRedis(t)];
    const one = await instance(t, server, platform, { ...PERSON, refreshToken: inlineSecret('rt-0', 'test') });
    const scripts = () => one.commands.filter((name) => name !== 'time' && name !== 'sign-of-life');
    await one.source.token();
    const before = scripts().length;
    await renewed(one);
    await until('the lock was given back', () => scripts().at(-1) === 'release');
    t.strictSame(scripts().slice(before), ['lock', 'intent', 'put', 'release']);
    for (let call = 0; call < 100; call += 1) await one.source.token();
    t.equal(scripts().length, before + 4);
  });
}
