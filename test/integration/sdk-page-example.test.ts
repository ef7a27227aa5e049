// The example configuration of the JavaScript SDK's page, INI and JSON, as it is and where the SDK looks for it: what
// the page promises of each row is what happens. Only what no test may touch (the region, /var/log) is overridden by
// flag and environment.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { startCommand } from '../helpers/command.ts';

const INI = `[logging]
log_level = trace
log_format = text
log_to_console = false
log_file_path = /var/log/javascriptsdk.log
log_response_body = false
log_request_body = false
[reauthentication]
refresh_access_token = true
refresh_token_wait_max = 10
[general]
live_reload_config = true
host = https://api.mypurecloud.com
`;

const JSON_TEXT = `{
"logging": {
"log_level": "trace",
"log_format": "text",
"log_to_console": false,
"log_file_path": "/var/log/javascriptsdk.log",
"log_response_body": false,
"log_request_body": false
},
"reauthentication": {
"refresh_access_token": true,
"refresh_token_wait_max": 10
},
"general": {
"live_reload_config": true,
"host": "https://api.mypurecloud.com"
}
}
`;

/** The gateway with the page's file in the SDK's place, before the simulation. */
async function start(t: Test, text: string) {
  const sandbox = createSandbox();
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const home = t.testdir({ '.genesyscloudjavascript': { config: text } });
  const configFile = join(home, '.genesyscloudjavascript', 'config');
  const logFile = join(home, 'var', 'log', 'javascriptsdk.log');
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const healthFree = '127.0.0.1:0';
  const command = startCommand(t, ['serve', '--listen', healthFree, '--set', `logging.log_file_path=${logFile}`], {
    cwd: home,
    env: {
      HOME: home,
      GCG_GATEWAY_HOST: host,
      GCG_GATEWAY_PORT: String(port),
      GCG_GATEWAY_PROTOCOL: 'http',
      GCG_CREDENTIAL_CLIENT_ID: id,
      GCG_CREDENTIAL_CLIENT_SECRET: secret,
    },
  });
  const log = () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  const until = async (text: string | RegExp) => {
    while (!(typeof text === 'string' ? log().includes(text) : text.test(log())))
      await new Promise<void>((resolve) => setImmediate(resolve));
    return log();
  };
  const url =
    /http:\/\/127\.0\.0\.1:\d+/.exec(
      (await until(/listening.*http:/)).split('\n').find((line) => line.includes('listening')) ?? '',
    )?.[0] ?? '';
  return { sandbox, command, url, log, until, configFile };
}

for (const [format, text] of [
  ['INI', INI],
  ['JSON', JSON_TEXT],
] as const) {
  t.test(`${format}: every row is read as it is written, without a warning`, async (t) => {
    const result = loadConfig({
      env: {},
      cwd: '/',
      home: '/home/someone',
      platform: 'linux',
      requireCredential: false,
      readFile(path) {
        if (path !== '/home/someone/.genesyscloudjavascript/config')
          throw Object.assign(new Error('no'), { code: 'ENOENT' });
        return { bytes: Buffer.from(text), mode: 0o600, uid: 0, names: [] };
      },
    });
    if (!result.ok) return t.fail(JSON.stringify(result.problems));
    const { logging, reauthentication, general } = result.config;
    t.same(result.warnings, []);
    t.equal(logging.level, 'trace');
    t.equal(logging.format, 'text');
    t.equal(logging.toConsole, false);
    t.equal(logging.filePath, '/var/log/javascriptsdk.log');
    t.equal(logging.responseBody, false);
    t.equal(logging.requestBody, false);
    t.equal(reauthentication.refreshAccessToken, true);
    t.equal(reauthentication.refreshTokenWaitMaxMs, 10_000, 'seconds, as the page says');
    t.equal(general.liveReloadConfig, true);
    t.equal(general.hosts.domain, 'mypurecloud.com');
    t.equal(general.hosts.api.origin, 'https://api.mypurecloud.com');
    t.equal(general.hosts.login.origin, 'https://login.mypurecloud.com');
  });

  t.test(`${format}: one program does what the rows say`, async (t) => {
    const { url, command, until, sandbox, configFile } = await start(t, text);
    // By then the gateway has asked whose its token is.
    await until(/READY/);

    await t.test("logging goes to the file alone, as text, with both sides' headers and no body", async (t) => {
      const calls = sandbox.stats.apiCallsTotal;
      const answer = await fetch(`${url}/api/v2/analytics/conversations/details/query`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-asked': 'asked-in-a-header' },
        body: '{"interval":"2026-01-01T00:00Z/2026-01-02T00:00Z","marker":"sent-in-a-body"}',
      });
      t.equal(answer.status, 200);
      await answer.text();
      const log = await until('/api/v2/analytics/conversations/details/query');
      const at = log.indexOf('/api/v2/analytics');
      const record = log.slice(log.lastIndexOf('\n', at) + 1);
      t.match(record, 'asked-in-a-header', 'log_level = trace: request headers');
      t.match(record, new RegExp(answer.headers.get('inin-correlation-id') ?? 'none'), 'and response headers');
      t.throws(() => JSON.parse(record.split('\n')[0] ?? ''), 'log_format = text');
      t.notMatch(record, /sent-in-a-body/, 'log_request_body = false');
      t.notMatch(record, /"conversations"|totalHits/, 'log_response_body = false');
      t.equal(command.stdout(), '', 'log_to_console = false');
      t.equal(sandbox.stats.apiCallsTotal, calls + 1);
    });

    await t.test("a token that is no longer good is renewed without the caller's noticing", async (t) => {
      sandbox.set({ unauthorized: { next: 1, code: 'credentials.expired' } });
      t.equal((await fetch(`${url}/api/v2/users?pageSize=1`)).status, 200, 'refresh_access_token = true');
      t.equal(sandbox.stats.tokenRequestsTotal, 2);
    });

    await t.test('a change of the file counts while running, the waiting time among it', async (t) => {
      const change = (ini: readonly [string, string], json: readonly [string, string]) =>
        writeFileSync(configFile, text.replace(...(format === 'INI' ? ini : json)));
      change(['wait_max = 10', 'wait_max = 1'], ['wait_max": 10', 'wait_max": 1']);
      await until('configuration reloaded');
      sandbox.set({ unauthorized: { next: 1, code: 'credentials.expired' }, tokenEndpoint: { fault: 'hang' } });
      const startedAt = performance.now();
      const answer = await fetch(`${url}/api/v2/users?pageSize=1`);
      t.equal(answer.headers.get('x-gateway-error'), 'gateway.credential.timeout', 'refresh_token_wait_max');
      t.ok(performance.now() - startedAt < 9_000, 'within the new time, not the old');
      sandbox.release();
      change(['reload_config = true', 'reload_config = false'], ['_config": true', '_config": false']);
      await until(/configuration reloaded[\s\S]*configuration reloaded/);
      const status = (await (await fetch(`${url}/-/status`)).json()) as { reload: { watching: boolean } };
      t.equal(status.reload.watching, false, 'live_reload_config = false disables this behaviour');
    });
  });
}
