// The audit trail of a gateway: which calls are in it, what a caller is told while it cannot be written, and that a line
// is on the disk before its response goes out.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AuditError } from '../../src/audit/trail-file.ts';
import { verifyTrail } from '../../src/audit/verify-trail.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import { createGateway } from '../../src/gateway.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { clientNamed } from '../helpers/clients.ts';
import { configAt, createTestLog } from '../helpers/gateway.ts';
import { createDisk, until } from '../unit/audit/trail-fixtures.ts';

/** Twenty times as fast: the trail is tried again every 50 ms. */
const HURRIED: Clock = { ...systemClock, after: (delayMs, fn) => systemClock.after(delayMs / 20, fn) };

async function startAudited(t: Test, audit: Partial<GatewayConfig['audit']> = {}, clients = [clientNamed('crm')]) {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const file = join(t.testdir(), 'audit.jsonl');
  const adminListen = [{ kind: 'tcp' as const, host: '127.0.0.1', port: 0 }];
  const config = configAt(origin, { audit: { file, ...audit }, clients, server: { adminListen }, retry: { max: 0 } });
  const { io, disk } = createDisk();
  const log = createTestLog();
  const gateway = await createGateway(config, { log, env: {}, auditIo: io, clock: HURRIED });
  t.teardown(() => {
    disk.release();
    Object.assign(disk, { writeFailure: null, syncFailure: null });
    return gateway.drain();
  });
  const [url] = (await gateway.listen()) as [string];
  // Behind the first line: whatever is held from now on belongs to a call.
  await until(() => disk.writes === 1 && (!config.audit.sync || disk.syncs === 1));
  await gateway.runtime().credentials.default()?.source.token();
  const call = (method: string, path = '/api/v2/sandbox/echo', init: RequestInit = {}) =>
    fetch(`${url}${path}`, { method, headers: { 'X-Gateway-Key': 'crm-secret' }, ...init });
  const calls = () => {
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'call');
  };
  return { gateway, sandbox, url, file, config, log, disk, call, calls };
}

t.test('each call that may change something is a line, with what the log has of it', async (t) => {
  const { call, calls, gateway, file, log } = await startAudited(t);
  const made = await call('PATCH', '/api/v2/sandbox/echo?token=abc');
  await made.text();
  await (await call('GET')).text();
  await (await call('DELETE', '/api/v2/nothing/here')).text();
  await gateway.drain();
  const requestId = made.headers.get('x-gateway-request-id');
  const record = log.exchanges.find((one) => one.requestId === requestId);
  t.match(calls(), [
    {
      client: 'crm',
      credential: 'default',
      operation: 'unlisted',
      method: 'PATCH',
      path: '/api/v2/sandbox/echo?token=[redacted]',
      status: made.status,
      requestId,
      correlationId: record?.correlationId,
      peer: '127.0.0.1',
    },
    { method: 'DELETE', status: 404 },
  ]);
  t.equal(calls().length, 2);
  t.same((await verifyTrail([file])).problems, []);
});

t.test('what was refused before it was sent is no line; what was sent and not answered is one', async (t) => {
  const { call, calls, gateway, sandbox } = await startAudited(t, {}, [
    clientNamed('crm', { deny: ['PUT /api/v2/**'] }),
  ]);
  t.equal((await call('PUT')).status, 403);
  await sandbox.close();
  t.equal((await call('PATCH')).status, 502);
  await gateway.drain();
  t.match(calls(), [{ method: 'PATCH', status: 502, correlationId: null }]);
});

t.test('a caller that leaves leaves a line', async (t) => {
  const { call, calls, gateway, sandbox, log } = await startAudited(t);
  sandbox.set({ latencyMs: 60_000 });
  const leaving = new AbortController();
  const left = call('PATCH', '/api/v2/sandbox/echo', { signal: leaving.signal }).catch(() => undefined);
  await sandbox.events.next('request', ({ kind }) => kind === 'api');
  leaving.abort();
  await left;
  await log.nextExchange(({ method }) => method === 'PATCH');
  await gateway.drain();
  t.match(calls(), [{ method: 'PATCH', status: 0 }]);
});

t.test('methods can be chosen', async (t) => {
  const { call, calls, gateway } = await startAudited(t, { methods: ['GET', 'DELETE'] });
  for (const method of ['GET', 'PATCH', 'HEAD']) await (await call(method)).text();
  await gateway.drain();
  t.strictSame(
    calls().map(({ method }) => method),
    ['GET'],
  );
});

t.test('while the trail cannot be written, changing calls are refused and reading goes on', async (t) => {
  const { call, calls, gateway, disk, sandbox, file, log } = await startAudited(t);
  await (await call('PATCH')).text();
  Object.assign(disk, { writeFailure: 'ENOSPC', room: 30 });
  await (await call('PATCH')).text();
  await log.nextLine('audit file cannot be written, it is tried again every second');
  const before = sandbox.events.recent.length;
  const refused = await call('PATCH');
  t.equal(refused.status, 503);
  t.equal(refused.headers.get('x-gateway-error'), 'gateway.audit.unavailable');
  t.ok(Number(refused.headers.get('retry-after')) > 0);
  t.match(((await refused.json()) as { message: string }).message, /cannot be written \(ENOSPC\).*nothing was changed/);
  t.equal(sandbox.events.recent.length, before, 'it was not sent');
  t.equal((await call('GET')).status, 200);
  disk.writeFailure = null;
  for (let status = 503; status === 503; ) {
    status = (await call('PATCH')).status;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await gateway.drain();
  t.equal(calls().length, 3, 'those that were sent, the one that failed to be written included');
  t.same((await verifyTrail([file])).problems, []);
});

t.test('on_failure = continue: they go on', async (t) => {
  const { call, calls, gateway, disk, log } = await startAudited(t, { onFailure: 'continue', sync: true });
  disk.writeFailure = 'ENOSPC';
  for (let at = 0; at < 3; at++) t.equal((await call('PATCH')).status, 200);
  t.match(await log.nextLine('audit file cannot be written, it is tried again every second'), { code: 'ENOSPC' });
  disk.writeFailure = null;
  await log.nextLine('audit file is written again');
  await gateway.drain();
  t.equal(calls().length, 3, 'late, and not lost');
});

t.test('with sync the response waits for the disk', async (t) => {
  const { call, calls, disk } = await startAudited(t, { sync: true });
  disk.isHeld = true;
  let isAnswered = false;
  const waiting = call('PATCH').then((response) => {
    isAnswered = true;
    return response;
  });
  const synced = disk.syncs;
  // The line is written when the platform has answered: what is sent after it is answered after it.
  await until(() => disk.writes === 2);
  t.equal((await call('GET')).status, 200);
  t.notOk(isAnswered);
  disk.release();
  t.equal((await waiting).status, 200);
  t.ok(disk.syncs > synced);
  t.equal(calls().length, 1, 'on the disk by now');
});

t.test('with sync a response whose line is not on the disk is not sent', async (t) => {
  const { call, disk, sandbox } = await startAudited(t, { sync: true });
  await (await call('PATCH')).text();
  disk.syncFailure = 'EIO';
  const before = sandbox.events.recent.length;
  const response = await call('PATCH');
  t.equal(response.status, 503);
  t.match(
    ((await response.json()) as { message: string }).message,
    /was sent and answered with 200, but its line .* not on the disk/,
  );
  t.ok(sandbox.events.recent.length > before);
});

t.test('a caller that leaves while its line is written disturbs nobody', async (t) => {
  const { call, calls, disk, gateway, log } = await startAudited(t, { sync: true });
  disk.isHeld = true;
  const leaving = new AbortController();
  const left = call('PATCH', '/api/v2/sandbox/echo', { signal: leaving.signal }).catch(() => undefined);
  await until(() => disk.writes === 2);
  leaving.abort();
  await left;
  // Its connection was closed before this call was sent.
  t.equal((await call('GET')).status, 200);
  disk.release();
  await log.nextExchange(({ method }) => method === 'PATCH');
  t.equal((await call('PATCH')).status, 200);
  await gateway.drain();
  t.equal(calls().length, 2);
});

t.test('a file that cannot be used is told at the start, and nothing is left open', async (t) => {
  const { config, gateway } = await startAudited(t);
  await t.rejects(createGateway(config, { log: createTestLog(), env: {} }), AuditError);
  await gateway.drain();
  const next = await createGateway(config, { log: createTestLog(), env: {} });
  await next.drain();
});

t.test('changes of the gateway itself are lines of their own', async (t) => {
  const { url, file, call, disk } = await startAudited(t, {}, [
    clientNamed('crm'),
    clientNamed('ops', { isAdmin: true }),
  ]);
  const post = (path: string, key: string) =>
    fetch(`${url}${path}`, { method: 'POST', headers: { 'X-Gateway-Key': key, 'X-Gateway-Request': '1' } });
  await (await post('/-/credentials/default/refresh', 'ops-secret')).text();
  await (await post('/-/reload', 'ops-secret')).text();
  await (await post('/-/reload', 'crm-secret')).text();
  await (await fetch(`${url}/-/status`, { headers: { 'X-Gateway-Key': 'ops-secret' } })).text();
  disk.writeFailure = 'ENOSPC';
  await (await call('DELETE')).text();
  await until(() => disk.writes > 4);
  t.equal((await call('DELETE')).status, 503);
  const refreshed = await post('/-/credentials/default/refresh', 'ops-secret');
  t.equal(refreshed.status, 200, 'while the trail cannot be written they are done all the same');
  await refreshed.text();
  disk.writeFailure = null;
  const lines = () =>
    readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  const admin = () => lines().filter(({ kind }) => kind === 'admin');
  await until(() => admin().length === 3);
  const line = { client: 'ops', method: 'POST', operation: null, correlationId: null };
  const refresh = { ...line, credential: 'default', path: '/-/credentials/default/refresh', status: 200 };
  t.match(admin(), [refresh, { ...line, credential: null, path: '/-/reload', status: 400 }, refresh]);
  t.same((await verifyTrail([file])).problems, []);
});
