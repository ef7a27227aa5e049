// A whole run as people run it: the real process, every grant, pages, status, commands, at trace with both bodies. What
// went over the wire as a secret is then looked for in everything that was written, shown, or can be read of the
// processes from outside.

import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { DEMO_CLIENTS, type SandboxClient } from '../../src/sandbox/clients.ts';
import { DEFAULT_ORGANIZATION } from '../../src/sandbox/directory.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { change, createCookieJar } from '../helpers/admin.ts';
import { createCanaries } from '../helpers/canary.ts';
import { assertionFor, layWire } from '../helpers/clients.ts';
import { gatewaySection } from '../helpers/commands.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { MAIN } from '../helpers/program.ts';
import { startServe } from '../helpers/serve-process.ts';

const PERSON = 'ada.lindqvist@simulated-org.example';

/** The values of fields that are secrets, wherever they passed. */
function secretsOnTheWire(text: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const note = (kind: string, value: string | undefined) => {
    if (value !== undefined && value.length >= 16)
      found.set(kind, (found.get(kind) ?? new Set()).add(decodeURIComponent(value)));
  };
  for (const [, kind = '', value] of text.matchAll(
    /[?&#]?\b(code|code_verifier|refresh_token|access_token|assertion)=([^&\s"#]+)/g,
  ))
    note(kind, value);
  for (const [, kind = '', value] of text.matchAll(/"(access_token|refresh_token)":"([^"]+)"/g)) note(kind, value);
  return found;
}

/** The kinds of which a value, the first 20 characters of one, or its base64 is in the text. */
function leaks(text: string, secrets: Map<string, Set<string>>): string[] {
  const isIn = (value: string) =>
    [value, value.slice(0, 20), encodeURIComponent(value), Buffer.from(value).toString('base64').slice(0, 24)].some(
      (form) => text.includes(form),
    );
  return [...secrets].filter(([, values]) => [...values].some(isIn)).map(([kind]) => kind);
}

t.test(
  'no secret is in any output, page, answer, command or process listing of a whole run',
  { skip: existsSync('/proc/self/environ') ? false : 'there is no /proc here' },
  async (t) => {
    const canaries = createCanaries();
    const demo: Record<string, SandboxClient> = DEMO_CLIENTS;
    const clients = Object.values(demo).map((client) =>
      client.secret === undefined ? client : { ...client, secret: canaries.clientSecret },
    );
    const sandbox = createSandbox({ clients, switches: { rotation: 'strict', login: { approve: PERSON } } });
    const { port } = await sandbox.listen({ port: 0 });
    t.teardown(() => sandbox.close());
    const wire = await layWire(t, port);
    const dir = t.testdir();
    const assertion = assertionFor(PERSON);
    writeFileSync(join(dir, 'secret'), canaries.clientSecret, { mode: 0o600 });
    writeFileSync(join(dir, 'assertion'), assertion, { mode: 0o600 });
    // The child shows what can be seen of it.
    const look = `const { readFileSync, writeFileSync } = require('node:fs');
const seen = ['environ', 'cmdline'].map((name) => readFileSync('/proc/self/' + name, 'latin1'));
writeFileSync(${JSON.stringify(join(dir, 'child'))}, seen.join(''));
process.stdout.write(readFileSync(${JSON.stringify(join(dir, 'assertion'))}));`;
    writeFileSync(join(dir, 'look.cjs'), look);
    const credential = (name: string, grant: string, client: SandboxClient, more: string) =>
      `[credential.${name}]\ngrant_type = ${grant}\nclient_id = ` +
      `${client.id}\n${client.secret === undefined ? '' : 'client_secret_file = secret\n'}${more}`;
    const config = join(dir, 'gcg.ini');
    writeFileSync(
      config,
      `${gatewaySection(`http://127.0.0.1:${wire.port}`)}[server]
listen = 127.0.0.1:0
admin_listen = 127.0.0.1:0
[logging]
log_level = trace
log_request_body = true
log_response_body = true
[store]
type = file
path = state
[credential]
client_id = ${DEMO_CLIENTS.clientCredentials.id}
client_secret_env = SECRET_OF_SERVICE
${credential('person', 'pkce', DEMO_CLIENTS.pkce, '')}
${credential('web', 'authorization_code', DEMO_CLIENTS.code, '')}
${credential('page', 'implicit', DEMO_CLIENTS.implicit, '')}
${credential('bridge', 'saml2_bearer', DEMO_CLIENTS.saml2Bearer, '')}
org_name = ${JSON.stringify(DEFAULT_ORGANIZATION.name)}
assertion_command[] = ${process.execPath}
assertion_command[] = ${join(dir, 'look.cjs')}
[client.boss]
secret = "${canaries.localSecret}"
admin = true
credential = default, person, web, page, bridge
`,
      { mode: 0o600 },
    );
    const env = { SECRET_OF_SERVICE: canaries.clientSecret, HOME: dir };
    const gateway = await startServe(t, config, env);
    const url = gateway.url;
    const shown: string[] = [];
    const locations: string[] = [];
    const headers = { 'X-Gateway-Key': canaries.localSecret };
    const see = async (response: Response) => {
      shown.push(JSON.stringify([...response.headers]), await response.text());
      return response.status;
    };
    const lookAt = async (path: string) => see(await fetch(url + path, { headers }));

    for (const name of ['person', 'web', 'page']) {
      const begun = (await (await change(`${url}/-/login/${name}`, '', headers)).json()) as { url: string };
      const { location } = await createCookieJar().get(begun.url);
      const [path = '', fragment] = location.split('#');
      locations.push(location);
      t.equal(
        fragment === undefined ? await see(await fetch(path)) : await see(await change(path, fragment)),
        200,
        name,
      );
    }
    for (const name of ['default', 'person', 'web', 'page', 'bridge']) {
      t.equal(await lookAt(`/${name}/api/v2/organizations/me`), 200, name);
      if (name !== 'page')
        t.equal(await see(await change(`${url}/-/credentials/${name}/refresh`, undefined, headers)), 200, name);
    }
    t.equal(await see(await change(`${url}/-/credentials/bridge/assertion`, assertion, headers)), 200);
    for (const path of ['/', '/-/status', '/metrics', '/readyz', '/-/callback?code=nobody&state=nothing'])
      await lookAt(path);
    // Errors: used up, down, refused.
    sandbox.set({ tokenEndpoint: { fault: 'html' } });
    await see(await change(`${url}/-/credentials/web/refresh`, undefined, headers));
    sandbox.set({ tokenEndpoint: null });
    const listing = readFileSync(`/proc/${gateway.child.pid}/cmdline`, 'latin1');
    const own = readFileSync(`/proc/${gateway.child.pid}/environ`, 'latin1');

    const admin = `127.0.0.1:${new URL(url).port}`;
    const commands = [
      ['status', '--json'],
      ['status'],
      ['config'],
      ['check', '--online'],
      ['login', 'person', '--paste'],
      ['logout', 'web'],
    ];
    for (const argv of commands) {
      const child = promisify(execFile)(
        process.execPath,
        [MAIN, ...argv, '--config', config, '--set', `server.listen=${admin}`, '--set', `server.admin_listen=${admin}`],
        { env: { ...childEnvironment, ...env } },
      );
      child.child.stdin?.end('http://127.0.0.1/-/callback?code=wrong&state=wrong\n');
      const { stdout, stderr } = await child.catch((error: { stdout: string; stderr: string }) => error);
      shown.push(stdout, stderr);
    }
    const printed = await promisify(execFile)(process.execPath, [MAIN, 'token', '--config', config], {
      env: { ...childEnvironment, ...env },
    });
    t.equal(await gateway.end('SIGTERM'), 0);

    const secrets = secretsOnTheWire([wire.text(), ...locations].join('\n'));
    for (const kind of ['code', 'code_verifier', 'refresh_token', 'access_token', 'assertion'])
      t.ok(secrets.has(kind), `${kind} was seen on the wire`);
    secrets.set('client secret', new Set([canaries.clientSecret])).set('local secret', new Set([canaries.localSecret]));
    const log = gateway.output();
    const child = readFileSync(join(dir, 'child'), 'latin1');
    const stored = readdirSync(join(dir, 'state'))
      .map((name) => readFileSync(join(dir, 'state', name), 'latin1'))
      .join('\n');

    t.same(leaks(log, secrets), [], 'in the log');
    t.same(leaks(shown.join('\n'), secrets), [], 'in pages, answers and commands');
    t.same(leaks(listing, secrets), [], 'in the command line');
    t.same(leaks(child, secrets), [], 'in what the assertion command is given');
    t.same(leaks(stored, secrets), [], 'in the store');
    t.same([...canaries.scan(log), ...canaries.scan(shown.join('\n')), ...canaries.scan(child)], [], 'in any disguise');
    // The controls: what was searched was there, and is found where it has to be.
    t.match(log, /"msg":"token request"/);
    t.match(log, /"responseBody"/);
    t.match(child, /look\.cjs/);
    t.match(shown.join('\n'), /You are logged in/);
    t.same(leaks(printed.stdout, secrets), ['access_token'], 'gcg token prints one, and it is found');
    t.same(leaks(own, secrets), ['client secret'], 'the gateway was given one in its environment, and it is found');
  },
);
