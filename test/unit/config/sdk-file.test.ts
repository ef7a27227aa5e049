// A file written for the SDK is a valid configuration here, in INI and in JSON.

import t from 'tap';
import { good, load, problems, warnings } from './load-text.ts';

const SDK_PATH = '/home/someone/.genesyscloudjavascript/config';
const SDK_INI = `[logging]
log_level = trace
log_format = text
log_to_console = false
log_file_path = /var/log/javascriptsdk.log
log_response_body = false
log_request_body = true

[reauthentication]
refresh_access_token = true
refresh_token_wait_max = 10

[general]
live_reload_config = true
host = https://api.mypurecloud.ie

[gateway]
host = localhost
protocol = http
port = 8080
path_params_login = login
path_params_api = api
username = someone
password = hidden
`;

t.test("the SDK's own file is taken, without its [gateway] section, which points at us", async (t) => {
  const result = load({ files: { [SDK_PATH]: SDK_INI } });
  t.match(good(result), {
    general: { hosts: { domain: 'mypurecloud.ie', api: { origin: 'https://api.mypurecloud.ie' } } },
    logging: {
      level: 'trace',
      format: 'text',
      toConsole: false,
      filePath: '/var/log/javascriptsdk.log',
      requestBody: true,
    },
    reauthentication: { refreshTokenWaitMaxMs: 10_000 },
  });
  t.match(warnings(result), [/config:18: gateway: the \[gateway\] section is ignored/]);
});

t.test('the same section elsewhere counts, and there it must not point at us', async (t) => {
  t.match(problems(load({ file: SDK_INI })), [/gateway\.host: .*is this gateway itself/]);
  const result = load({ file: SDK_INI, set: ['server.listen=127.0.0.1:9999'] });
  t.match(good(result).general.hosts.login, { origin: 'http://localhost:8080', pathPrefix: '/login' });
  t.match(warnings(result), [
    /^gcg\.ini:23: gateway\.username: only an SDK knows this key/,
    /gateway\.password: only an SDK/,
  ]);
  t.notMatch(warnings(result).join(), 'hidden');
});

t.test('keys of the other SDKs are warnings too, and half of [retry] is enough', async (t) => {
  const go =
    '[proxy]\nhost = p\nport = 1\nprotocol = http\nauth-username = x\nauth-password = y\n[gateway]\nhost = ' +
    'gw.example.com\npath-params = login:x,other:y\n[retry]\nretry_wait_max = 0.5\nretry_max = 5\n';
  const result = load({ file: go });
  t.match(good(result), { proxy: { url: 'http://p:1' }, retry: { max: 5, waitMinMs: 500, waitMaxMs: 500 } });
  t.equal(warnings(result).filter((line) => line.includes('only an SDK')).length, 3);
});

t.test('JSON in the SDK layout is taken with native and with quoted values', async (t) => {
  const json = {
    general: { host: 'mypurecloud.de', live_reload_config: false },
    logging: { log_level: 'debug', log_to_console: 'false' },
    reauthentication: { refresh_token_wait_max: 5 },
    gateway: { host: 'gw', port: 8443, 'path-params': { login: 'x' } },
  };
  const result = load({ file: JSON.stringify(json, null, 2) });
  t.match(good(result), {
    general: { liveReloadConfig: false, hosts: { domain: 'mypurecloud.de', api: { origin: 'https://gw:8443' } } },
    logging: { level: 'debug', toConsole: false },
    reauthentication: { refreshTokenWaitMaxMs: 5000 },
  });
  t.match(warnings(result), [/^gcg\.ini:\d+: gateway\.path-params/]);
});

t.test('JSON names nest, and a number where text belongs is refused', async (t) => {
  const json =
    '{"credential": {"client_id": "a", "client_secret": "b", "crm": {"client_id": 5, "client_secret": true}}, ' +
    '"upstream": {"headers": {"Genesys-App": "x"}}}';
  t.match(problems(load({ file: json })), [
    /^gcg\.ini:1: credential\.crm\.client_id: must be text/,
    /^gcg\.ini:1: credential\.crm\.client_secret: must be text/,
  ]);
  t.match(good(load({ file: json.replace('5', '"c"').replace('true', '"d"') })), {
    credentials: [{ name: 'default' }, { name: 'crm', clientId: 'c' }],
    upstreamHeaders: [['Genesys-App', 'x']],
  });
});
