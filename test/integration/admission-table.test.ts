// Who may call and who may administer without proof: every kind of listener beside every way of proving, at the start
// and by a reload.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { GatewayConfig, ListenAddress } from '../../src/config/gateway-config.ts';
import { createGateway, type Gateway } from '../../src/gateway.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { inlineSecret } from '../../src/secret.ts';
import { askAt } from '../helpers/ask.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { clientNamed } from '../helpers/clients.ts';
import { configAt, createTestLog, type TestLog } from '../helpers/gateway.ts';

const serverCa = await createTestCa('Server CA');
const clientCa = await createTestCa('Client CA');
const pair = serverCa.issue(['localhost', '127.0.0.1']);
const sandbox = createSandbox();
const { origin } = await sandbox.listen({ port: 0 });
const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
t.teardown(() => {
  serverCa.close();
  clientCa.close();
  rmSync(folder, { recursive: true });
  return sandbox.close();
});

let sockets = 0;
const LISTENERS: Record<string, { isLocal: boolean; address: () => ListenAddress }> = {
  loopback: { isLocal: true, address: () => ({ kind: 'tcp', host: '127.0.0.1', port: 0 }) },
  'IPv6 loopback': { isLocal: true, address: () => ({ kind: 'tcp', host: '::1', port: 0 }) },
  'IPv4 loopback in IPv6': { isLocal: true, address: () => ({ kind: 'tcp', host: '::ffff:127.0.0.1', port: 0 }) },
  'a Unix socket': { isLocal: true, address: () => ({ kind: 'unix', path: join(folder, `${sockets++}.sock`) }) },
  'all addresses': { isLocal: false, address: () => ({ kind: 'tcp', host: '0.0.0.0', port: 0 }) },
};

/** How callers can prove themselves. */
/** A secret that a listener which others reach may have. */
const LONG = (name: string) => inlineSecret(`${name}-secret-of-some-length`, 'test');

const PROOFS = {
  nothing: [false, false],
  clients: [true, false],
  certificates: [false, true],
  both: [true, true],
} as const;

interface Setup {
  readonly hasClients: boolean;
  readonly hasCa: boolean;
  readonly isAsked: boolean;
  readonly isRiskTaken: boolean;
}

function configOf(address: ListenAddress, { hasClients, hasCa, isAsked, isRiskTaken }: Setup): GatewayConfig {
  const tls = hasCa ? { certFile: pair.certFile, keyFile: pair.keyFile, clientCaFile: clientCa.caFile } : null;
  return configAt(origin, {
    clients: hasClients
      ? [clientNamed('crm', { secret: LONG('crm') }), clientNamed('ops', { secret: LONG('ops'), isAdmin: true })]
      : [],
    server: {
      listen: [address],
      adminListen: [address],
      tls,
      drainTimeoutMs: 0,
      anonymousCredentials: isAsked ? ['default'] : null,
      unsafeAllowAnonymous: isRiskTaken,
    },
  });
}

interface Started {
  readonly gateway: Gateway;
  readonly url: string;
  readonly log: TestLog;
  readonly quits: () => number;
}

/** Null when it refuses to listen. */
async function start(config: GatewayConfig): Promise<Started | null> {
  const log = createTestLog();
  let quits = 0;
  const gateway = await createGateway(config, { log, env: {}, onQuit: () => void quits++ });
  try {
    const [url = ''] = await gateway.listen();
    await gateway.runtime().credentials.default()?.source.token();
    return { gateway, url, log, quits: () => quits };
  } catch (error) {
    await gateway.drain();
    if ((error as Error).name === 'ExposureError') return null;
    throw error;
  }
}

/** One request of somebody who proves nothing, unless `headers` do. */
async function ask(
  url: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = '',
): Promise<number> {
  return (await askAt(url, { method, path, headers, body })).status;
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const CHANGE = { 'x-gateway-request': '1' };
const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
};

/** What each of the ways in answers to a caller without proof. */
async function answersOf({ url, gateway }: Started): Promise<Record<string, number>> {
  const handle = gateway.runtime().handles.issue({ client: null, credential: null, authFingerprint: null });
  const bearer = { authorization: `Bearer ${handle}` };
  const login = 'grant_type=client_credentials&client_id=x&client_secret=y';
  return {
    get: await ask(url, 'GET', '/api/v2/users?pageSize=1'),
    unknownBearer: await ask(url, 'GET', '/api/v2/users?pageSize=1', { authorization: 'Bearer nonsense' }),
    handle: await ask(url, 'GET', '/api/v2/users?pageSize=1', bearer),
    post: await ask(
      url,
      'POST',
      '/api/v2/analytics/conversations/details/query',
      { 'content-type': 'application/json' },
      '{"interval":"2026-01-01T00:00Z/2026-01-02T00:00Z"}',
    ),
    end: await ask(url, 'DELETE', '/api/v2/tokens/me'),
    upgrade: await ask(url, 'GET', '/streaming/channels/none', UPGRADE),
    upgradeByHandle: await ask(url, 'GET', '/streaming/channels/none', { ...UPGRADE, ...bearer }),
    token: await ask(url, 'POST', '/oauth/token', FORM, login),
    status: await ask(url, 'GET', '/-/status'),
    page: await ask(url, 'GET', '/'),
    metrics: await ask(url, 'GET', '/metrics'),
    statusByHandle: await ask(url, 'GET', '/-/status', bearer),
    refresh: await ask(url, 'POST', '/-/credentials/default/refresh', CHANGE),
    quit: await ask(url, 'POST', '/-/quit', CHANGE),
    health: await ask(url, 'GET', '/livez'),
  };
}

function expected(isLocal: boolean, { hasClients, hasCa, isAsked, isRiskTaken }: Setup): Record<string, number> {
  const canProve = hasClients || hasCa;
  const isAdmitted = (isAsked || !canProve) && (isLocal || isRiskTaken);
  const call = isAdmitted ? 200 : 401;
  const admin = isAdmitted && !canProve ? 200 : 401;
  // A certificate or a client's secret is what the handle is not: it is anonymous, and says so at the pages, too.
  const adminByHandle = isAdmitted && hasClients ? 403 : admin;
  return {
    get: call,
    unknownBearer: call,
    handle: call,
    post: call,
    end: call,
    upgrade: isAdmitted ? 404 : 401,
    upgradeByHandle: isAdmitted ? 404 : 401,
    token: isAdmitted ? 200 : 400,
    status: admin,
    page: admin,
    metrics: admin,
    refresh: admin,
    quit: admin === 200 ? 202 : admin,
    statusByHandle: adminByHandle,
    health: 200,
  };
}

const STRICT: Setup = { hasClients: true, hasCa: false, isAsked: false, isRiskTaken: false };

async function startRow(t: Test, name: string, isLocal: boolean, address: ListenAddress, setup: Setup): Promise<void> {
  const started = await start(configOf(address, setup));
  const isRefused = !isLocal && !setup.hasClients && !setup.hasCa && !setup.isRiskTaken;
  t.equal(started === null, isRefused, `${name}: ${isRefused ? 'does not start' : 'starts'}`);
  if (started === null) return;
  const answers = await answersOf(started);
  t.same(answers, expected(isLocal, setup), name);
  t.equal(started.quits(), answers.quit === 202 ? 1 : 0);
  const isWarned = started.log.lines.some(({ msg }) => msg === 'anonymous callers are served');
  const isServed = setup.isAsked || !(setup.hasClients || setup.hasCa);
  const wants = isLocal
    ? isServed && !(setup.isAsked || setup.isRiskTaken) && address.kind !== 'unix'
    : isServed && setup.isRiskTaken;
  t.equal(isWarned, wants, `${name}: ${wants ? 'warns' : 'does not warn'}`);
  await started.gateway.drain();
}

async function reloadRow(t: Test, name: string, isLocal: boolean, address: ListenAddress, setup: Setup): Promise<void> {
  const before = { ...STRICT, hasCa: setup.hasCa };
  const started = (await start(configOf(address, before))) as Started;
  const isServed = setup.isAsked || !(setup.hasClients || setup.hasCa);
  const isRefused = !isLocal && isServed;
  let refusal: Error | null = null;
  try {
    started.gateway.replace(configOf(address, setup));
  } catch (error) {
    refusal = error as Error;
  }
  t.equal(refusal !== null, isRefused, `${name}: ${isRefused ? 'is refused' : 'is taken over'}`);
  if (isRefused) t.match(refusal?.message ?? '', /^server\.(listen|anonymous_credentials): /);
  t.same(await answersOf(started), expected(isLocal, isRefused ? before : { ...setup, isRiskTaken: false }), name);
  await started.gateway.drain();
}

for (const [way, row] of [
  ['start', startRow],
  ['reload', reloadRow],
] as const) {
  for (const [listener, { isLocal, address }] of Object.entries(LISTENERS)) {
    t.test(
      `at the ${way}, ${listener}: without proof only local callers are served, as the clients, CA and settings say`,
      async (t) => {
        for (const [proof, [hasClients, hasCa]] of Object.entries(PROOFS)) {
          for (const isAsked of [false, true]) {
            for (const isRiskTaken of [false, true]) {
              const asked = isAsked ? ', anonymous_credentials' : '';
              const risk = isRiskTaken ? ', unsafe_allow_anonymous' : '';
              await row(t, `${proof}${asked}${risk}`, isLocal, address(), { hasClients, hasCa, isAsked, isRiskTaken });
            }
          }
        }
      },
    );
  }
}
