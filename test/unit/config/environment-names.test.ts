// GCG_* variables: which option each one sets, and what becomes of those that set none.

import fc from 'fast-check';
import t from 'tap';
import {
  envName,
  parseEnvName,
  readEnvironment,
  readGenesysEnvironment,
  readPresets,
} from '../../../src/config/env.ts';
import { refuseName } from '../../../src/config/layers.ts';
import { formatProblem } from '../../../src/config/problem.ts';
import { keysOf, OPTIONS } from '../../../src/config/table.ts';
import { CREDENTIAL, good, load, problems } from './load-text.ts';

t.test('every option has a variable that leads back to it', async (t) => {
  for (const { section, key } of OPTIONS) {
    const name = section === 'client' ? 'crm' : '';
    const wanted = section === 'client' ? 'client.crm' : section;
    t.strictSame(parseEnvName(envName(section, name, key)), { section: wanted, key }, envName(section, name, key));
  }
});

t.test('the longest known key wins and the rest is the name', async (t) => {
  const cases: [string, string, string][] = [
    ['GCG_CREDENTIAL_CLIENT_ID', 'credential', 'client_id'],
    ['GCG_CREDENTIAL_CRM_CLIENT_ID', 'credential.crm', 'client_id'],
    ['GCG_CREDENTIAL_MY_CRM_CLIENT_SECRET_FILE', 'credential.my-crm', 'client_secret_file'],
    ['GCG_CREDENTIAL_ORG_NAME', 'credential', 'org_name'],
    ['GCG_CREDENTIAL_ORG_ORG', 'credential.org', 'org'],
    ['GCG_CLIENT_CRM_SECRET_SHA256', 'client.crm', 'secret_sha256'],
    ['GCG_CLIENT_CRM_CREDENTIAL', 'client.crm', 'credential'],
    ['GCG_SERVER_TLS_CERT_FILE', 'server.tls', 'cert_file'],
    ['GCG_RATE_LIMIT_REQUESTS_PER_MINUTE', 'rate_limit', 'requests_per_minute'],
    ['GCG_UPSTREAM_HEADERS_GENESYS_APP', 'upstream.headers', 'Genesys-App'],
  ];
  for (const [variable, section, key] of cases) t.strictSame(parseEnvName(variable), { section, key }, variable);
});

t.test(
  'any name with any key survives the way into a variable and back, unless a longer key claims its end',
  async () => {
    const name = fc
      .stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/)
      .filter((text) => refuseName(text) === undefined && text !== 'default' && !/--|-$/.test(text));
    const keys = keysOf('credential');
    fc.assert(
      fc.property(name, fc.constantFrom(...keys), (credential, key) => {
        const found = parseEnvName(envName('credential', credential, key));
        const whole = `${credential.replaceAll('-', '_')}_${key}`;
        const longest = keys
          .filter((candidate) => whole === candidate || whole.endsWith(`_${candidate}`))
          .sort((a, b) => b.length - a.length)[0];
        return longest !== key || (found?.section === `credential.${credential}` && found.key === key);
      }),
      { numRuns: 1000 },
    );
  },
);

t.test('a variable that fits no option is a warning that never shows the value', async (t) => {
  const { entries, warnings } = readEnvironment({
    GCG_SERVER_LISTN: 'hidden',
    GCG_CLIENT_SECRET: 'hidden',
    GCG_CONFIG: 'x',
    PATH: '/bin',
    GCG_X: 'hidden',
  });
  t.strictSame(entries, []);
  const lines = warnings.map(formatProblem);
  t.match(lines, [
    /GCG_SERVER_LISTN.*did you mean "GCG_SERVER_LISTEN"/,
    /GCG_CLIENT_SECRET.*did you mean "GCG_CREDENTIAL_CLIENT_SECRET"/,
    /GCG_X/,
  ]);
  t.notMatch(lines.join(), 'hidden');
});

t.test('a credential can be configured by the environment alone', async (t) => {
  const config = good(
    load({
      requireCredential: true,
      env: { GCG_CREDENTIAL_CLIENT_ID: 'an-id', GCG_CREDENTIAL_CLIENT_SECRET: 'a-secret' },
    }),
  );
  t.match(config.credentials, [{ name: 'default', clientId: 'an-id', location: 'env GCG_CREDENTIAL_CLIENT_ID' }]);
});

t.test('lists: commas where allowed, lines or JSON where an item may hold commas', async (t) => {
  const env = { GCG_CLIENT_CRM_SECRET: 'x', GCG_SERVER_LISTEN: '127.0.0.1:1, [::1]:2' };
  const read = (allow: string) => good(load({ env: { ...env, GCG_CLIENT_CRM_ALLOW: allow } }));
  t.equal(read('GET /a').server.listen.length, 2);
  t.strictSame(read('GET,POST /a\nGET /b').clients[0]?.allow, ['GET,POST /a', 'GET /b']);
  t.strictSame(read('["GET,POST /a", "GET /b"]').clients[0]?.allow, ['GET,POST /a', 'GET /b']);
});

t.test("the variables of Genesys' own tools count without a file only, and below ours", async (t) => {
  const env = {
    GENESYSCLOUD_REGION: 'eu-central-1',
    GENESYSCLOUD_OAUTHCLIENT_ID: 'theirs',
    GENESYSCLOUD_OAUTHCLIENT_SECRET: 'a-secret',
  };
  t.match(good(load({ env })), {
    general: { hosts: { domain: 'mypurecloud.de' } },
    credentials: [{ clientId: 'theirs' }],
  });
  t.match(good(load({ env: { ...env, GCG_CREDENTIAL_CLIENT_ID: 'ours' } })).credentials, [{ clientId: 'ours' }]);
  t.match(good(load({ env, file: '' })), { general: { hosts: { domain: 'mypurecloud.com' } }, credentials: [] });
  t.match(good(load({ env: { GENESYSCLOUD_ACCESS_TOKEN: 'token' } })).credentials, [{ grantType: 'access_token' }]);
});

t.test('a region on this machine, as gc is pointed at a gateway, is left out', async (t) => {
  const { entries, warnings } = readGenesysEnvironment({
    GENESYSCLOUD_REGION: 'localhost:8080',
    GENESYSCLOUD_OAUTHCLIENT_ID: '',
  });
  t.strictSame(entries, []);
  t.equal(warnings.length, 1);
});

t.test('a default of an image or a unit is below the file, the environment and the flags', async (t) => {
  const env = { GCG_DEFAULT_SERVER_LISTEN: '127.0.0.1:1', GCG_DEFAULT_STORE_PATH: '/var/lib/x' };
  const port = (given: Parameters<typeof load>[0]) =>
    good(load(given)).server.listen.map((one) => 'port' in one && one.port);
  t.strictSame(port({ env }), [1]);
  t.strictSame(port({ env, file: '[server]\nlisten = 127.0.0.1:2' }), [2]);
  t.strictSame(
    port({ env: { ...env, GCG_SERVER_LISTEN: '127.0.0.1:3' }, file: '[server]\nlisten = 127.0.0.1:2' }),
    [3],
  );
  t.strictSame(port({ env, set: ['server.listen=127.0.0.1:4'] }), [4]);
  t.equal(good(load({ env })).store.path, '/var/lib/x');
  const result = load({ env });
  const listen = result.ok ? result.settings.find(({ key }) => key === 'server.listen') : undefined;
  t.equal(listen?.origin, 'env GCG_DEFAULT_SERVER_LISTEN', 'gcg config names it');
});

t.test('what has no default of that kind is told, by name and without its value', async (t) => {
  const { entries, warnings } = readPresets({
    GCG_DEFAULT_SERVER_LISTN: 'hidden',
    GCG_DEFAULT_CREDENTIAL_CLIENT_SECRET: 'hidden',
    GCG_DEFAULT_: 'hidden',
    GCG_SERVER_LISTEN: 'x',
  });
  t.strictSame(entries, []);
  t.equal(warnings.length, 3);
  t.notMatch(warnings.map(formatProblem).join(), 'hidden');
});

t.test('an address of the image that others reach is refused with words for who runs a container', async (t) => {
  const refused = (env: Record<string, string>) => problems(load({ env, file: CREDENTIAL })).join('\n');
  t.match(
    refused({ GCG_DEFAULT_SERVER_LISTEN: '0.0.0.0:8080' }),
    /GCG_DEFAULT_SERVER_LISTEN.*add a \[client\.NAME\] section.*set GCG_SERVER_LISTEN=127\.0\.0\.1:8080 if all callers share its network/,
  );
  t.notMatch(refused({ GCG_SERVER_LISTEN: '0.0.0.0:8080' }), /share its network/);
  const env = { GCG_DEFAULT_SERVER_LISTEN: '0.0.0.0:8080' };
  const both = problems(load({ env, requireCredential: true })).join('\n');
  t.match(both, /\[client\.NAME\][\s\S]*no credential is configured/, 'without any setting both are told at once');
});
