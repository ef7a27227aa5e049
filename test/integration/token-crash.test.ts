// A process is killed 10 times in the middle of a refresh with rotating refresh tokens, against a token endpoint on
// loopback.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { childEnvironment } from '../helpers/fast-start.ts';
import { stateFolder } from '../helpers/gateway.ts';

const KILLS = 10;

/**
 * Rotates at each refresh. With a grace window the predecessor is good until its successor is used; without, only the
 * last one is.
 */
async function startServer(t: Test, hasGrace: boolean) {
  let last = 'rt-0';
  let predecessor: string | null = null;
  let count = 0;
  const events: (() => void)[] = [];
  const server = createServer(async (request, response) => {
    const refreshToken = new URLSearchParams(await text(request)).get('refresh_token');
    if (refreshToken !== last && !(hasGrace && refreshToken === predecessor)) {
      response.writeHead(400).end('{"error":"invalid_grant"}');
      return;
    }
    count += 1;
    predecessor = refreshToken;
    last = `rt-${count}`;
    events.splice(0).forEach((fn) => {
      fn();
    });
    response.end(JSON.stringify({ access_token: `at-${count}`, expires_in: 3_600, refresh_token: last }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rotated: () => new Promise<void>((resolve) => events.push(resolve)),
  };
}

/** Refreshes for ever, or once; prints the code of the error that ends it, or `ok`. */
const REFRESHER = `
  import { createCredentials } from '${import.meta.resolve('../../src/auth/credentials/credentials.ts')}';
  import { FileStore } from '${import.meta.resolve('../../src/auth/credentials/store/file.ts')}';
  import { systemClock } from '${import.meta.resolve('../../src/clock.ts')}';
  import { inlineSecret } from '${import.meta.resolve('../../src/secret.ts')}';
  const log = { error() {}, warn() {}, info() {}, debug() {} };
  const { STORE, LOGIN, MODE } = process.env;
  const base = { origin: LOGIN, pathPrefix: '' };
  const credential = { name: 'crm', grantType: 'pkce', clientId: 'c', clientSecret: null, assertion: null,
    assertionCommand: [], accessToken: null, scope: null,
    refreshToken: inlineSecret('rt-0', 'test'),
    hosts: { domain: 'x', api: base, login: base, streaming: base }, isDefault: true, location: 'test' };
  const reauthentication = { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 };
  const config = { credentials: [credential], reauthentication, timeouts: { tokenMs: 4_000 } };
  const transport = async ({ url, headers, body }) => {
    const pairs = Array.from({ length: headers.length / 2 }, (_, i) => [headers[2 * i], headers[2 * i + 1]]);
    const response = await fetch(url, { method: 'POST', headers: pairs, body });
    return { statusCode: response.status, headers: {}, body: Buffer.from(await response.arrayBuffer()) };
  };
  const store = new FileStore({ path: STORE, prefix: 'gcg', encryptionKey: null, clock: systemClock, log });
  const deps = { clock: systemClock, random: Math.random, log };
  const { source } = createCredentials({ config, transport, store, ...deps }).default();
  setInterval(() => {}, 1e9);
  try {
    do await source.refresh(); while (MODE === 'forever');
    console.log('ok');
  } catch (error) {
    console.log(error.code);
  }
  process.exit(0);
`;

function startRefresher(store: string, login: string, mode: 'once' | 'forever') {
  const env = { ...childEnvironment, STORE: store, LOGIN: login, MODE: mode };
  return spawn(process.execPath, ['--input-type=module', '-e', REFRESHER], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

t.test('with a grace window a working refresh token is held after each of 10 kills', async (t) => {
  const { url, rotated } = await startServer(t, true);
  const path = stateFolder(t);
  for (let kill = 0; kill < KILLS; kill += 1) {
    const child = startRefresher(path, url, 'forever');
    const exited = once(child, 'exit');
    for (let refreshes = 0; refreshes <= kill % 3; refreshes += 1) await rotated();
    // The answer is on its way, being stored, or stored: a different point each time.
    const until = performance.now() + (kill % 8) * 0.7;
    while (performance.now() < until);
    child.kill('SIGKILL');
    await exited;
  }
  t.equal((await text(startRefresher(path, url, 'once').stdout)).trim(), 'ok');
  t.notOk(readdirSync(path).some((name) => name.includes('.damaged-')));
});

t.test('under strict rotation a kill between answer and store asks for a login, and the store is whole', async (t) => {
  const { url, rotated } = await startServer(t, false);
  const path = stateFolder(t);
  t.equal((await text(startRefresher(path, url, 'once').stdout)).trim(), 'ok');
  const child = startRefresher(path, url, 'forever');
  const exited = once(child, 'exit');
  await rotated();
  // Before the answer leaves this process.
  child.kill('SIGKILL');
  await exited;
  t.equal((await text(startRefresher(path, url, 'once').stdout)).trim(), 'gateway.login.required');
  t.notOk(readdirSync(path).some((name) => name.includes('.damaged-')));
});
