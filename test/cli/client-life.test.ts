// gcg client: list, rotate, revoke, unblock and can, against a gateway that runs and without one.

import { hash } from 'node:crypto';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { client } from '../../src/cli/commands/client.ts';
import { loadConfig } from '../../src/config/load.ts';
import { inlineSecret } from '../../src/secret.ts';
import { askAt } from '../helpers/ask.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createCommandFolder, gatewaySection } from '../helpers/commands.ts';
import { startGateway } from '../helpers/gateway.ts';

const OPS = 'ops-secret-of-some-length';
const CRM = 'crm-secret-of-some-length';
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const CLIENTS = `[client.ops]\nsecret = ${OPS}\nadmin = true\n[client.crm]\nsecret = ${CRM}\ncredential = default\nallow[] = @read-only\ndeny[] = GET /api/v2/organizations/**\nfrom[] = 127.0.0.0/8\n`;

/** A folder whose configuration leads to a gateway that runs. */
async function start(t: Test) {
  const { url, config } = await startGateway(t, {
    config: {
      clients: [
        clientNamed('ops', { isAdmin: true, secret: inlineSecret(OPS, 'test') }),
        clientNamed('crm', { secret: inlineSecret(CRM, 'test'), allow: ['@read-only'], from: ['127.0.0.0/8'] }),
      ],
      server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    },
  });
  const { host } = new URL(url);
  const ini = `${gatewaySection(config.credentials[0]?.hosts.api.origin ?? '')}[server]\nlisten = ${host}\n[credential]\nclient_id = a\nclient_secret = b\n${CLIENTS}`;
  return { url, folder: createCommandFolder(t, ini) };
}

const alone = (t: Test, more = '') =>
  createCommandFolder(
    t,
    `[server]\nlisten = 127.0.0.1:1\n[credential]\nclient_id = a\nclient_secret = b\n[credential.me]\ngrant_type = pkce\nclient_id = c\n${CLIENTS}${more}`,
  );

t.test('list tells who was seen with which secret; revoke blocks at once, unblock lifts it', async (t) => {
  const { url, folder } = await start(t);
  await askAt(url, { headers: bearer(CRM) });
  const fingerprint = hash('sha256', CRM).slice(0, 8);
  const listed = await folder.run(client, ['client', 'list']);
  t.equal(listed.code, 0, listed.err);
  t.match(listed.out, new RegExp(`^crm +active +${fingerprint} +0 s ago +127\\.0\\.0\\.1 +1 +0 +0 +0$`, 'm'));
  t.match(listed.out, /^crm +default +allow @read-only +127\.0\.0\.0\/8$/m);
  t.match(listed.out, /^ops \(admin\)/m);
  const json = JSON.parse((await folder.run(client, ['client', 'list', '--json'])).out);
  t.match(json, {
    source: 'gateway',
    readOnly: false,
    clients: [{ name: 'ops' }, { name: 'crm', secrets: [{ fingerprint, calls: 1 }] }],
  });
  t.notMatch(JSON.stringify(json), /of-some-length/);
  const revoked = await folder.run(client, ['client', 'revoke', 'crm']);
  t.match(revoked, {
    code: 0,
    out: /^remove the section \[client\.crm\] \(gcg\.ini:\d+\)/,
    err: /^blocked, until the gateway ends.*gcg client unblock crm lifts it\n$/,
  });
  t.equal((await askAt(url, { headers: bearer(CRM) })).status, 401);
  t.match((await folder.run(client, ['client', 'list'])).out, /^crm +blocked /m);
  t.match(await folder.run(client, ['client', 'can', 'crm', 'GET', '/api/v2/users']), {
    code: 1,
    out: /^no: client crm is blocked/,
  });
  t.match(await folder.run(client, ['client', 'unblock', 'crm']), {
    code: 0,
    err: /^unblocked: crm may call again\n$/,
  });
  t.equal((await askAt(url, { headers: bearer(CRM) })).status, 200);
  t.match(await folder.run(client, ['client', 'revoke', 'ops']), {
    code: 1,
    err: /nothing was blocked: a client cannot block itself/,
  });
});

t.test('without a gateway list tells what the file says, and revoke what to remove, with 69', async (t) => {
  const folder = alone(t);
  const listed = await folder.run(client, ['client', 'list']);
  t.match(listed, {
    code: 0,
    err: /^note: from the configuration alone, .*no gateway is running at 127\.0\.0\.1:1\n$/,
  });
  t.match(listed.out, new RegExp(`^crm +active +${hash('sha256', CRM).slice(0, 8)} +-`, 'm'));
  t.match(JSON.parse((await folder.run(client, ['client', 'list', '--json'])).out), { source: 'file' });
  t.match(await folder.run(client, ['client', 'revoke', 'crm']), {
    code: 69,
    out: /^remove the section \[client\.crm\]/,
    err: /nothing was blocked: no gateway is running/,
  });
  t.match(await folder.run(client, ['client', 'unblock', 'crm']), { code: 69 });
});

t.test('rotate prints a line that may be appended, and what to remove afterwards', async (t) => {
  const folder = alone(t);
  const { code, out, err } = await folder.run(client, ['client', 'rotate', 'crm']);
  t.equal(code, 0);
  const secret = /^secret: (gcgk_[\w-]{43})$/m.exec(err)?.[1] ?? '';
  t.equal(out, `\n[client.crm]\nsecret_sha256[] = ${hash('sha256', secret)}\n`);
  const [before, after] = [hash('sha256', CRM).slice(0, 8), hash('sha256', secret).slice(0, 8)];
  t.match(err, `gcg client list shows ${after} when it is used`);
  t.match(
    err,
    new RegExp(`shows that ${before} is no longer used, remove secret \\(gcg\\.ini:\\d+\\) of \\[client\\.crm\\]`),
  );
  appendFileSync(join(folder.dir, 'gcg.ini'), out);
  const loaded = loadConfig({ env: {}, cwd: folder.dir, home: folder.dir, platform: 'linux' });
  t.match(loaded.ok && loaded.config.clients.find(({ name }) => name === 'crm'), {
    secretSha256: [hash('sha256', secret)],
    allow: ['@read-only'],
  });
  const again = await folder.run(client, ['client', 'rotate', 'crm']);
  t.match(again.err, /crm has 2 secrets already: remove those that are no longer used first/);
  t.match(await folder.run(client, ['client', 'rotate', 'crn']), {
    code: 2,
    out: '',
    err: /no client is called "crn"; there are: ops, crm/,
  });
});

t.test('in a JSON configuration rotate prints the member to put there', async (t) => {
  const folder = createCommandFolder(t, null);
  const digest = hash('sha256', 'another');
  writeFileSync(
    join(folder.dir, 'gcg.json'),
    JSON.stringify({
      credential: { client_id: 'a', client_secret: 'b' },
      client: { crm: { secret_sha256: [digest] } },
    }),
    { mode: 0o600 },
  );
  const { out } = await folder.run(client, ['client', 'rotate', 'crm']);
  t.match(JSON.parse(`{${out}}`), { secret_sha256: [digest, /^[0-9a-f]{64}$/] });
});

t.test('can says whether a call may be made, which rule decides, and with which credential', async (t) => {
  const folder = alone(
    t,
    '[client.old]\nsecret = old-secret-of-some-length\nexpires = 2020-01-01\n[client.web]\nsecret = web-secret-of-some-length\nallow[] = GET /api/v2/users\nmode = report\n',
  );
  const cases: [name: string, method: string, path: string, code: number, out: RegExp][] = [
    [
      'crm',
      'GET',
      '/api/v2/users?a=b',
      0,
      /^yes: client crm may GET \/api\/v2\/users\?a=b with credential default \(client\.crm\.allow: @read-only\)\n +when it calls from 127\.0\.0\.0\/8/,
    ],
    ['crm', 'get', '/default/api/v2/users', 0, /^yes: /],
    ['crm', 'DELETE', '/api/v2/users/x', 1, /^no: the rules of client crm do not list this call/],
    [
      'crm',
      'GET',
      '/api/v2/Organizations/me',
      1,
      /^no: the rules of client crm deny this call \(GET \/api\/v2\/organizations\/\*\*\)/,
    ],
    [
      'crm',
      'GET',
      '/me/api/v2/users',
      1,
      /^no: the credential me is not listed for this caller: set client\.crm\.credential = default, me/,
    ],
    ['crm', 'GET', '/nowhere/api/v2/users', 1, /^no: no credential of that name is configured/],
    ['crm', 'GET', '/api/v2/a/../b', 1, /^no: the request target is ambiguous/],
    ['crm', 'POST', '/oauth/token', 1, /^no: rules are for calls to \/api\/v2/],
    ['ops', 'DELETE', '/api/v2/users/x', 0, /\(no rule denies it\)/],
    ['old', 'GET', '/api/v2/users', 1, /^no: client old ended at 2020-01-02T00:00:00Z/],
    ['web', 'DELETE', '/api/v2/users/x', 0, /its rules would refuse it, and are only reported/],
    ['-', 'GET', '/api/v2/users', 1, /^no: with clients configured, all callers must prove who they are/],
  ];
  for (const [name, method, path, code, out] of cases)
    t.match(
      await folder.run(client, ['client', 'can', name, method, path]),
      { code, out },
      `${name} ${method} ${path}`,
    );
  const readOnly = await folder.run(client, [
    'client',
    'can',
    'ops',
    'DELETE',
    '/api/v2/users/x',
    '--set',
    'server.read_only=true',
  ]);
  t.match(readOnly, { code: 1, out: /^no: this gateway is read-only/ });
  const anonymous = ['--set', 'server.anonymous_credentials=default', '--set', 'server.anonymous_allow=@read-only'];
  t.match(await folder.run(client, ['client', 'can', '-', 'GET', '/api/v2/users', ...anonymous]), {
    code: 0,
    out: /^yes: a caller who is no client may GET .* \(server\.anonymous_allow: @read-only\)/,
  });
  t.match(await folder.run(client, ['client', 'can', '-', 'DELETE', '/api/v2/users', ...anonymous]), {
    code: 1,
    out: /add it to server\.anonymous_allow/,
  });
});

t.test('what is no call, no client or no verb is a usage error', async (t) => {
  const folder = alone(t);
  for (const words of [
    ['can', 'crm', 'GTE', '/api/v2/x'],
    ['can', 'crm', 'GET', 'users'],
    ['can', 'nobody', 'GET', '/api/v2/x'],
    ['can', 'crm', 'GET'],
    ['list', 'crm'],
    ['constructor'],
    ['revoke', 'nobody'],
    ['unblock', '../x'],
    ['add', 'Bad Name'],
  ])
    t.match(await folder.run(client, ['client', ...words]), { code: 2, out: '', err: /^gcg: / }, words.join(' '));
});

t.test('--read-only is a setting that a reload keeps', async (t) => {
  const { parseCommandLine } = await import('../../src/cli/args.ts');
  t.match(parseCommandLine(['serve', '--read-only']), {
    overrides: {
      entries: [{ section: 'server', key: 'read_only', value: { text: 'true' }, location: 'flag --read-only' }],
    },
  });
  t.match(parseCommandLine(['demo', '--read-only']), { kind: 'run' });
  t.match(parseCommandLine(['status', '--read-only']), { kind: 'usage' });
});
