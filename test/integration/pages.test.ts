// What a person sees in a browser: errors as pages, the login without a name, and the status page as it tells of
// addresses, clients and itself. For programs everything stays as it is.

import t from 'tap';
import { statusTable } from '../../src/cli/commands/status.ts';
import { renderStatusPage } from '../../src/server/pages/status-page.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { change, personAt, startAdminGateway } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';

/** As browsers send it. */
const HTML = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

async function open(url: string, headers: Record<string, string> = HTML) {
  const response = await fetch(url, { headers, redirect: 'manual' });
  return { response, status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

t.test('an error at an address for people is a page for a browser, with the headers of an error', async (t) => {
  const { url } = await startAdminGateway(t);
  for (const [path, status, href] of [
    ['/-/login/nobody', 404, '../../'],
    ['/-/login', 404, '../'],
    ['/-/', 404, '../'],
    ['/-/what/is/this', 404, '../../../'],
    ['/-/quit', 405, '../'],
    ['/-/login/default', 400, '../../'],
  ] as const) {
    const page = await open(url + path);
    t.equal(page.status, status, path);
    t.match(page.type, /^text\/html/);
    t.match(page.text, `<a href="${href}">Status of the gateway</a>`, path);
    t.equal(new URL(href, url + path).pathname, '/');
    t.match(page.response.headers.get('x-gateway-error'), /^gateway\./);
    t.match(page.response.headers.get('content-security-policy'), /default-src 'none'/);
    t.match(page.text, page.response.headers.get('x-gateway-request-id') ?? '?');
  }
  t.equal((await open(`${url}/-/quit`)).response.headers.get('allow'), 'POST');
});

t.test('programs get the document, whatever they accept; so does every other address', async (t) => {
  const { url } = await startAdminGateway(t);
  for (const accept of ['*/*', 'application/json', 'text/html-not', 'application/json, text/plain, */*'])
    t.match(await open(`${url}/-/login/nobody`, { Accept: accept }), { status: 404, type: 'application/json' });
  for (const path of ['/nothing', '/oauth/nothing', '/livez/no'])
    t.match(await open(url + path), { status: 404, type: 'application/json' });
  const posted = await change(`${url}/-/credentials/nobody/refresh`, '', HTML);
  t.match(posted.headers.get('content-type'), 'application/json');
});

t.test('a page for who may not see it asks for no password and leads nowhere', async (t) => {
  const { url } = await startAdminGateway(t, { overrides: { clients: [clientNamed('ops', { isAdmin: true })] } });
  const page = await open(url);
  t.equal(page.status, 401);
  t.match(page.type, /^text\/html/);
  t.equal(page.response.headers.get('www-authenticate'), 'Bearer realm="genesys-cloud-gateway"');
  t.notMatch(page.text, /href="\.\.\/|href="">|ops/);
});

t.test('404 names the status page where there is one, and only there', async (t) => {
  const admin = await startAdminGateway(t);
  t.match((await open(`${admin.url}/nothing`)).text, /and the status page is \/"/);
  const data = await startGateway(t);
  t.notMatch((await open(`${data.url}/nothing`)).text, /status page/);
  t.notMatch((await open(`${data.url}/-/login/default`)).text, /href="\.\./);
});

t.test('/-/login leads to the only login, or the default one; of several it names them', async (t) => {
  const { url } = await startAdminGateway(t, {
    credentials: (origin) => [credentialAt(origin), personAt(origin, 'pkce', { isDefault: false })],
  });
  const { response } = await open(`${url}/-/login`);
  t.equal(response.status, 302);
  t.equal(new URL(response.headers.get('location') ?? '', `${url}/-/login`).pathname, '/-/login/crm');
  t.match(await (await change(`${url}/-/login`)).json(), { state: /^[\w-]{43}$/, redirectUri: `${url}/-/callback` });
  t.equal((await fetch(`${url}/-/login`, { method: 'POST' })).status, 403, 'without the header');
  const several = await startAdminGateway(t, {
    credentials: (origin) => [
      credentialAt(origin),
      personAt(origin, 'pkce', { isDefault: false }),
      personAt(origin, 'pkce', { name: 'me', isDefault: false }),
    ],
  });
  t.match(await open(`${several.url}/-/login`), { status: 404, text: /Several .* one of crm, me/ });
});

t.test('the status page loads itself again where it is asked to, within reason', async (t) => {
  const { url } = await startAdminGateway(t);
  t.match((await open(`${url}/?refresh=5`)).text, /<meta http-equiv="refresh" content="5">[\s\S]*every 5 s/);
  for (const query of [
    '',
    '?refresh=0',
    '?refresh=1',
    '?refresh=99999',
    '?refresh=5;url=//evil.example',
    '?refresh=-5',
  ])
    t.notMatch((await open(`${url}/${query}`)).text, /http-equiv/, query);
});

t.test('commands on the page can be copied as they are; an address that is no host is not put into one', async (t) => {
  const { url } = await startAdminGateway(t, {
    credentials: (origin) => [credentialAt(origin), personAt(origin, 'pkce', { isDefault: false })],
  });
  const { text } = await open(url);
  t.match(text, `curl ${url}/api/v2/organizations/me`);
  t.match(text, `${url}/-/credentials/default/refresh`);
  t.match(text, /nobody may use it yet: add <code>crm<\/code> to <code>server\.anonymous_credentials/);
  t.match((await open(url, { ...HTML, 'X-Forwarded-Host': 'gcg.example' })).text, 'curl ADDRESS/api/v2');
  const behind = await startAdminGateway(t, { overrides: { server: { publicUrl: 'https://gcg.example/team/' } } });
  t.match((await open(behind.url)).text, 'curl https://gcg.example/team/api/v2/organizations/me');
});

t.test('where clients are configured the page shows them, and commands show a proof', async (t) => {
  const clients = [clientNamed('ops', { isAdmin: true }), clientNamed('<b>', { allow: ['GET /api/v2/a/**'] })];
  const { url } = await startAdminGateway(t, { overrides: { clients } });
  const { text } = await open(url, { ...HTML, 'X-Gateway-Key': 'ops-secret' });
  t.match(text, /<th scope="row">ops \(admin\)<\/th><td>active<\/td>\s*<td>default<\/td>\s*<td>all calls<\/td>/);
  t.match(text, /&lt;b&gt;<\/th><td>active<\/td>\s*<td>default<\/td>\s*<td>allow GET \/api\/v2\/a\/\*\*<\/td>/);
  t.match(text, /curl -H &quot;X-Gateway-Key: SECRET-OF-A-CLIENT&quot;|curl -H "X-Gateway-Key: SECRET-OF-A-CLIENT"/);
  t.notMatch(text, /ops-secret/);
});

t.test(
  'page and status say who is blocked or has ended, who may change anything, and how the audit fares',
  async (t) => {
    const clients = [
      clientNamed('ops', { isAdmin: true }),
      clientNamed('left', { expiresAt: Date.now() - 1000 }),
      clientNamed('soon', { expiresAt: Date.now() + 3 * 86_400_000 }),
      clientNamed('crm'),
    ];
    const file = `${t.testdir()}/audit.jsonl`;
    const { url } = await startAdminGateway(t, { overrides: { clients, audit: { file }, server: { readOnly: true } } });
    const proof = { 'X-Gateway-Key': 'ops-secret' };
    t.equal((await change(`${url}/-/clients/crm/block`, undefined, proof)).status, 200);
    const document = (await (await fetch(`${url}/-/status`, { headers: proof })).json()) as StatusDocument;
    const table = statusTable(document);
    const { text } = await open(url, { ...HTML, ...proof });
    t.match(table, /^ops \(admin\) +active +default/m);
    t.match(table, /^left +expired +default/m);
    t.match(table, /^soon +active, 2 d 23 h left \(to \d{4}-\d\d-\d\d\) +default/m);
    t.match(table, /^crm +blocked +default/m);
    t.match(text, /<th scope="row">left<\/th><td><span class="bad">expired<\/span><\/td>/);
    t.match(text, /<th scope="row">crm<\/th><td><span class="bad">blocked<\/span><\/td>/);
    t.match(table, /^nobody may change anything \(server\.read_only\)$/m);
    t.match(text, '<p>Nobody may change anything (server.read_only).</p>');
    t.match(table, /^the audit trail is written \(line \d is its last\)$/m);
    t.match(text, /The audit trail is written \(line \d is its last\)\./);
    const broken = { ...document, audit: { failure: 'ENOSPC', lost: 2, head: { seq: 7, hash: '' } } };
    const told = /the audit trail cannot be written \(ENOSPC\); 2 calls have no line in it/i;
    t.match(statusTable(broken), told);
    t.match(renderStatusPage(broken, { address: null, refreshS: null }).text, told);
  },
);
