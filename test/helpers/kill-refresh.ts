// Kills a gateway in the middle of a refresh, at another point each time, and asks the next one what is left. For the
// suite and for the long run.

import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import { change, createCookieJar } from './admin.ts';
import { gatewaySection } from './commands.ts';
import { type ServeProcess, startServe } from './serve-process.ts';

/** A simulation that rotates, and a folder in which one gateway after the other lives. */
export interface KillRange {
  readonly sandbox: Sandbox;
  readonly statePath: string;
  /** Ready, or waiting for a person. */
  start(): Promise<ServeProcess>;
  /** Logs a person in through a running gateway. */
  login(gateway: ServeProcess): Promise<void>;
  /**
   * Begins a refresh and kills the gateway at the point that `at` chooses: unasked, answered but not heard, or 0 to 7
   * ms into what follows.
   */
  killInRefresh(gateway: ServeProcess, at: number): Promise<void>;
  /** Files that the store kept aside as damaged. */
  damaged(): string[];
}

export async function createKillRange(t: Test, rotation: 'grace' | 'strict'): Promise<KillRange> {
  const sandbox = createSandbox({ switches: { rotation, login: { approve: 'ada.lindqvist@simulated-org.example' } } });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const dir = t.testdir();
  const config = join(dir, 'gcg.ini');
  const credential = `[credential.crm]\ngrant_type = pkce\nclient_id = ${DEMO_CLIENTS.pkce.id}\n`;
  writeFileSync(
    config,
    `${gatewaySection(origin)}[server]\nlisten = 127.0.0.1:0\n[store]\npath = state\n${credential}`,
    { mode: 0o600 },
  );
  const statePath = join(dir, 'state');
  const isToken = ({ kind }: { kind: string }) => kind === 'token';

  return {
    sandbox,
    statePath,
    async start() {
      const gateway = await startServe(t, config);
      // Behind the first look into the store, which a forced refresh would join.
      await (await fetch(`${gateway.url}/api/v2/users/me`)).text();
      return gateway;
    },
    async login({ url }) {
      const jar = createCookieJar();
      const landed = await jar.get((await jar.get((await jar.get(`${url}/-/login/crm`)).location)).location);
      if (landed.status !== 200) throw new Error(`the login answered ${landed.status}`);
    },
    async killInRefresh(gateway, at) {
      const asked = sandbox.events.next('request', isToken);
      const answered = sandbox.events.next('answer', isToken);
      const refresh = change(`${gateway.url}/-/credentials/crm/refresh`).then(
        () => undefined,
        () => undefined,
      );
      await asked;
      const point = at % 10;
      if (point === 0) {
        // The platform may or may not have begun.
        await gateway.end('SIGKILL');
      } else if (point === 1) {
        // The platform has rotated, and nobody here has read it.
        gateway.child.kill('SIGSTOP');
        await answered;
        await gateway.end('SIGKILL');
      } else {
        await answered;
        const until = performance.now() + (point - 2);
        while (performance.now() < until);
        await gateway.end('SIGKILL');
      }
      await refresh;
    },
    damaged: () => readdirSync(statePath).filter((name) => name.includes('.damaged-')),
  };
}

/** With a grace window a working refresh token is held after each kill: the next gateway renews with it. */
export async function surviveKills(t: Test, kills: number): Promise<void> {
  const range = await createKillRange(t, 'grace');
  let gateway = await range.start();
  await range.login(gateway);
  let held = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    await range.killInRefresh(gateway, kill);
    gateway = await range.start();
    const before = range.sandbox.stats.tokensIssued;
    const renewed = await change(`${gateway.url}/-/credentials/crm/refresh`);
    await renewed.text();
    t.equal(range.sandbox.stats.tokensIssued, before + 1, 'the platform was asked');
    if (renewed.status === 200) held += 1;
    else t.fail(`kill ${kill}: ${renewed.status} ${renewed.headers.get('x-gateway-error')}`);
  }
  t.equal(held, kills, 'a working refresh token after each kill');
  t.equal((await fetch(`${gateway.url}/api/v2/users/me`)).status, 200);
  t.same(range.damaged(), []);
  t.equal(await gateway.end('SIGTERM'), 0);
}

/**
 * Under strict rotation, what was rotated and never heard of is lost: a login is asked for, by its own code, and the
 * store is whole.
 */
export async function askForLoginAfterKills(t: Test, kills: number): Promise<void> {
  const range = await createKillRange(t, 'strict');
  let gateway = await range.start();
  for (let kill = 0; kill < kills; kill += 1) {
    await range.login(gateway);
    await range.killInRefresh(gateway, 1);
    gateway = await range.start();
    const renewed = await change(`${gateway.url}/-/credentials/crm/refresh`);
    t.equal(renewed.status, 424);
    t.equal(renewed.headers.get('x-gateway-error'), 'gateway.login.required');
    t.match(((await renewed.json()) as { message: string }).message, /gcg login crm/);
    range.sandbox.expireTokens();
    const call = await fetch(`${gateway.url}/api/v2/users/me`);
    t.equal(call.headers.get('x-gateway-error'), 'gateway.login.required', 'callers are told the same');
    await call.text();
  }
  await range.login(gateway);
  t.equal((await fetch(`${gateway.url}/api/v2/users/me`)).status, 200);
  t.same(range.damaged(), []);
  t.equal(await gateway.end('SIGTERM'), 0);
}
