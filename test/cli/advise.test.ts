// `gcg advise`: what it tells of a running gateway and of a log, and that its role is enough for the same calls, while
// one permission less is not.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { advise } from '../../src/cli/commands/advise.ts';
import { adviseOn } from '../../src/operations/advice.ts';
import { roleOf, terraformOf } from '../../src/operations/role.ts';
import { createUsers } from '../../src/sandbox/directory.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { startGateway } from '../helpers/gateway.ts';

const FREE = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
const SOMEBODY = createUsers(1)[0]?.id;
const JSON_TYPE = { 'content-type': 'application/json' };
const CALLS: readonly (readonly [method: string, path: string, body?: object])[] = [
  ['GET', '/api/v2/users?pageSize=2'],
  ['GET', '/api/v2/organizations/me'],
  ['POST', '/api/v2/analytics/conversations/details/query', { interval: '2026-01-01T00:00Z/2026-01-02T00:00Z' }],
  ['PATCH', `/api/v2/users/${SOMEBODY}`, { title: 'Agent' }],
];

async function statusesOf(url: string): Promise<number[]> {
  const statuses: number[] = [];
  for (const [method, path, body] of CALLS) {
    const answer = await fetch(url + path, {
      method,
      ...(body && { body: JSON.stringify(body), headers: JSON_TYPE }),
    });
    await answer.arrayBuffer();
    statuses.push(answer.status);
  }
  return statuses;
}

interface Role {
  permissionPolicies: { domain: string; entityName: string; actionSet: string[] }[];
}

const permissionsOf = ({ permissionPolicies }: Role) =>
  permissionPolicies.flatMap(({ domain, entityName, actionSet }) =>
    actionSet.map((action) => `${domain}:${entityName}:${action}`),
  );

async function started(t: Test) {
  const gateway = await startGateway(t, { config: { server: { adminListen: [FREE] } } });
  const ini = `[server]\nadmin_listen = 127.0.0.1:${gateway.port}\n[credential]\nclient_id = x\nclient_secret = y\n`;
  const folder = createCommandFolder(t, ini);
  const run = (...argv: string[]) => folder.run(advise, ['advise', '--config', 'gcg.ini', ...argv]);
  return { ...gateway, folder, run };
}

t.test("the demo's calls: the role it writes is enough for them, and one permission less is not", async (t) => {
  const { url, sandbox, run } = await started(t);
  t.match(await run(), { code: 1, err: /no calls were seen/ });
  t.same(await statusesOf(url), [200, 200, 200, 200]);
  const { code, out } = await run('--role');
  t.equal(code, 0);
  const role = JSON.parse(out) as Role;
  const answer = await fetch(`${url}/api/v2/authorization/roles`, { method: 'POST', body: out, headers: JSON_TYPE });
  t.equal(answer.status, 200, 'the platform takes it');
  const permissions = permissionsOf(role);
  t.same(permissions, ['analytics:agentConversationDetail:view', 'directory:user:edit']);
  sandbox.set({ permissions });
  t.same(await statusesOf(url), [200, 200, 200, 200]);
  for (const left of permissions) {
    sandbox.set({ permissions: permissions.filter((permission) => permission !== left) });
    const refused = (await statusesOf(url)).filter((status) => status === 403);
    t.equal(refused.length, 1, `without ${left}`);
  }
});

t.test('against what is granted: missing, unused, wider than used', async (t) => {
  const { url, sandbox, run } = await started(t);
  sandbox.set({ permissions: ['directory:*:*', 'routing:queue:view'] });
  await statusesOf(url);
  const { code, out } = await run();
  t.equal(code, 0);
  for (const line of [
    /^credential default: \d operations, \d calls by anonymous callers$/m,
    /missing:\n {4}analytics:agentConversationDetail:view\n/,
    /refused without them:\n {4}postAnalyticsConversationsDetailsQuery\n/,
    /granted and not used:\n {4}routing:queue:view\n/,
    /granted wider than used:\n {4}directory:\*:\* \(used: directory:user:edit\)\n/,
    /declare no permission.*:\n {4}getOrganizationsMe\n {4}getUsers\n/,
  ])
    t.match(out, line);
  const [json] = JSON.parse((await run('--json')).out);
  t.match(json, { credential: 'default', granted: { missing: ['analytics:agentConversationDetail:view'] } });
  t.match(await run('--client', 'nobody'), { code: 1 });
  t.match(await run('--role', '--terraform'), { code: 2 });
});

t.test('from a log: records alone count, earlier ones by their path, whatever else the file holds', async (t) => {
  const { folder, run } = await started(t);
  const record = (fields: object) =>
    JSON.stringify({ msg: 'exchange', credential: 'eu', client: 'crm', attempts: 1, method: 'GET', ...fields });
  const log = [
    record({ operation: 'getRoutingQueues' }),
    record({ path: '/eu/api/v2/routing/queues?pageSize=1' }),
    record({ operation: 'postUsers', client: 'hr', credential: 'us' }),
    record({ operation: 'unlisted' }),
    record({ operation: 'deleteUser', attempts: 0 }),
    JSON.stringify({ msg: 'listening' }),
    'text of another program',
    '{"msg":"exchange","cred',
    `"${'x'.repeat(2 * 1024 * 1024)}"`,
    'null',
    '',
  ];
  writeFileSync(join(folder.dir, 'a.log'), log.join('\n'));
  const file = join(folder.dir, 'a.log');
  const { code, out, err } = await run('--from', file, '--json');
  t.equal(code, 0);
  t.equal(err, 'gcg: 4 calls in the log; 4 lines are no records\n');
  t.match(JSON.parse(out), [
    { credential: 'eu', clients: ['crm'], calls: 3, operations: 1, unlistedCalls: 1, granted: null },
    { credential: 'us', permissions: ['directory:user:add'] },
  ]);
  t.match(await run('--from', file, '--role'), { code: 2, err: /--credential \(eu, us\)/ });
  const terraform = await run('--from', file, '--credential', 'us', '--terraform');
  t.match(
    terraform.out,
    /^resource "genesyscloud_auth_role" "gcg-us" \{[\s\S]*action_set {2}= \["add"\]\n {2}\}\n\}\n$/,
  );
  t.match(await run('--from', join(folder.dir, 'none')), { code: 1, err: /cannot be read/ });
  // As an editor leaves it; and what no credential is called.
  writeFileSync(file, `\uFEFF${record({ operation: 'postUsers', credential: 'a\b\u001b[31m\u0024{b}' })}\r\n{`);
  const odd = await run('--from', file, '--terraform');
  t.match(odd, { code: 0, err: /1 call in the log; 1 line is no record/ });
  t.match(odd.out, '"gcg-a [31m$\u0024{b}"', 'a string that Terraform reads');
});

t.test('a log of very many credentials and unknown operations is read at its own cost', async (t) => {
  const uses = Array.from({ length: 50_000 }, (_, at) => ({
    client: null,
    credential: `c${at}`,
    operation: `op${at}`,
    calls: 1,
  }));
  const before = process.cpuUsage();
  t.equal(adviseOn(uses, () => null).length, 50_000);
  const { user, system } = process.cpuUsage(before);
  t.ok((user + system) / 1e6 < 5, `${(user + system) / 1e6} s`);
});

t.test('deprecated and preview operations are said, with who calls them', async (t) => {
  const use = (operation: string, client: string | null) => ({ operation, client, credential: 'default', calls: 1 });
  const { operationTable } = await import('../../src/operations/table.ts');
  const old = operationTable().operations.find(({ isDeprecated }) => isDeprecated)?.id as string;
  const young = operationTable().operations.find(({ isPreview }) => isPreview)?.id as string;
  const [advice] = adviseOn([use(old, 'crm'), use(old, null), use(young, 'hr'), use('getUsersMe', 'crm')], () => null);
  t.match(advice, {
    deprecated: [{ operation: old, clients: [null, 'crm'] }],
    preview: [{ operation: young, clients: ['hr'] }],
    aboutUser: ['getUsersMe'],
  });
});

t.test('a role as Terraform begins no template of its own', async (t) => {
  const text = terraformOf(roleOf('gcg-a b', `\${x} %{y} "z"`, ['a:b:view', 'a:b:edit']));
  t.match(text, /"gcg-a_b" \{\n {2}name {8}= "gcg-a b"\n {2}description = "\$\$\{x\} %%\{y\} \\"z\\""\n/);
  t.match(text, /domain {6}= "a"\n {4}entity_name = "b"\n {4}action_set {2}= \["view", "edit"\]/);
});
