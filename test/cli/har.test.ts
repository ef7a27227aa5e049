// `gcg har`: the file that it writes, what it says of a mark, and what it refuses.

import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { explain } from '../../src/cli/commands/explain.ts';
import { har } from '../../src/cli/commands/har.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { startGateway } from '../helpers/gateway.ts';
import { problemsOfHar } from '../helpers/har.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

t.test('calls become a file for its owner alone, and marks in it can be asked for', async (t) => {
  const clients = [clientNamed('boss', { isAdmin: true }), clientNamed('crm')];
  const { url } = await startGateway(t, { config: { server: { adminListen: LOCAL }, clients } });
  const headers = { 'X-Gateway-Key': 'crm-secret' };
  for (const path of ['organizations/me?access_token=a-secret-of-somebody', 'nowhere', 'organizations/me'])
    await fetch(`${url}/api/v2/${path}`, { headers }).then((answer) => answer.text());
  const ini = `[server]\nlisten = ${new URL(url).host}\n[client.boss]\nsecret = boss-secret\nadmin = true\n`;
  const folder = createCommandFolder(t, ini);
  const run = (...argv: string[]) => folder.run(har, ['har', ...argv]);
  const path = join(folder.dir, 'calls.har');

  const made = await run('-o', 'calls.har');
  t.match(made, {
    code: 0,
    out: '',
    err: /^3 calls\. Places where a secret is replaced by \[redacted\]: \d; different secrets among them: 1\. .* No body is in it\./,
  });
  const text = readFileSync(path, 'utf8');
  t.strictSame(problemsOfHar(text), []);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.notOk(text.includes('a-secret-of-somebody'));
  t.match(await run('--output', 'calls.har', 'status:404', '--since', '5m'), { code: 0, err: /^1 call\. / });
  t.match(readFileSync(path, 'utf8'), /"why":\{"who":"caller"/);
  t.match(await run('-o', '-', '--id', '1', '--id', '3'), { code: 0, out: /^\{"log":/, err: /^2 calls/ });
  t.match(await run('-o', '/dev/null'), { code: 0 });
  t.ok(statSync('/dev/null').isCharacterDevice(), 'a device is written to');

  const mark = /\[redacted~\w+\]/.exec(text)?.[0] ?? '';
  t.match(await run('--which', mark), { code: 1, err: /^gcg: no secret in use has this mark/ });
  t.match(await run('--which', 'what'), { code: 1, err: /mark must be what stands in the file/ });
  t.match(await folder.run(explain, ['explain', '2', '--markdown']), {
    code: 0,
    out: /^\*\*`GET \/api\/v2\/nowhere` → 404\*\*\n.*genesys-cloud-gateway \d/s,
  });

  await t.test('what is refused', async (t) => {
    for (const [argv, err] of [
      [['-o', 'x', 'status:'], /column/],
      [['-o', 'x', '--bodies', 'all'], /--bodies is none, shape or full/],
      [['-o', 'x', '--bodies', 'full'], /add --yes/],
      [['-o', 'x', '--scope', 'ever'], /--scope is file or run/],
      [['-o', 'x', '--id', '1', 'status:200'], /not both/],
    ] as const)
      t.match(await run(...argv), { code: 2, err }, argv.join(' '));
    t.match(await folder.run(har, ['har'], { isTTY: true }), { code: 2, err: /say where to write it: -o FILE/ });
    t.match(await run('-o', 'x', '--id', '99'), { code: 1, err: /not kept any more/ });
    t.match(await run('-o', 'x', '--bodies', 'full', '--yes'), { code: 0 });
    mkdirSync(join(folder.dir, 'closed'));
    writeFileSync(join(folder.dir, 'closed/is-a-file'), '');
    chmodSync(join(folder.dir, 'closed'), 0o500);
    t.match(await run('-o', 'closed/is-a-file/x'), { code: 1, err: /cannot be written \(ENOTDIR\)/ });
    const nobody = createCommandFolder(t, '[server]\nlisten = 127.0.0.1:1\n');
    t.match(await nobody.run(har, ['har', '-o', 'x']), { code: 69, err: /no gateway is running/ });
    const stranger = createCommandFolder(t, ini.replace('boss-secret', 'not-the-secret'));
    t.match(await stranger.run(har, ['har', '-o', 'x']), { code: 77 });
  });
});
