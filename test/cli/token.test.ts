// gcg token: a token on stdout and nothing else, from a grant of its own or from the store, and not into a terminal.

import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { token } from '../../src/cli/commands/token.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { ASKED_ONCE, createCommandFolder, gatewaySection } from '../helpers/commands.ts';

const { id, secret } = DEMO_CLIENTS.clientCredentials;

async function folderFor(t: Test, clientSecret: string, more = '') {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const ini = `${gatewaySection(origin)}${ASKED_ONCE}[credential]\nclient_id = ${id}\nclient_secret = ${clientSecret}\n${more}`;
  return { sandbox, origin, folder: createCommandFolder(t, ini) };
}

t.test('prints a token that works', async (t) => {
  const { folder, origin } = await folderFor(t, secret);
  const { code, out, err } = await folder.run(token, ['token']);
  t.equal(code, 0, err);
  t.equal(err, '');
  const answer = await fetch(`${origin}/api/v2/tokens/me`, { headers: { Authorization: `Bearer ${out.trimEnd()}` } });
  t.equal(answer.status, 200);
});

t.test('refuses a terminal before anything is asked for, unless told', async (t) => {
  const { folder, sandbox } = await folderFor(t, secret);
  t.match(await folder.run(token, ['token'], { isTTY: true }), { code: 2, out: '', err: /--show/ });
  t.equal(sandbox.stats.tokensIssued, 0);
  t.match(await folder.run(token, ['token', '--show'], { isTTY: true }), { code: 0, out: /^\S+\n$/ });
});

t.test('refused is 77, unreachable is 69, nobody logged in is 77, and each says what to do', async (t) => {
  const { folder, sandbox } = await folderFor(
    t,
    'wrong',
    '[credential.crm]\ngrant_type = pkce\nclient_id = x\n[store]\ntype = memory\n',
  );
  t.match(await folder.run(token, ['token']), { code: 77, out: '' });
  t.match(await folder.run(token, ['token', 'crm']), { code: 77, err: /gcg login crm/ });
  await sandbox.close();
  t.match(await folder.run(token, ['token']), { code: 69, out: '' });
});

t.test('with a file store the token is kept when the command ends, and the next one asks for nothing', async (t) => {
  const { folder, sandbox } = await folderFor(t, secret, '[store]\ntype = file\npath = state\n');
  const first = await folder.run(token, ['token']);
  t.ok(readdirSync(join(folder.dir, 'state')).some((name) => name.endsWith('.token')));
  t.equal((await folder.run(token, ['token'])).out, first.out);
  t.equal(sandbox.stats.tokensIssued, 1);
});

t.test('a store that cannot be used is said, and the token is printed all the same', async (t) => {
  const { folder } = await folderFor(t, secret, '[store]\ntype = file\npath = state\n');
  writeFileSync(join(folder.dir, 'state'), 'no folder');
  t.match(await folder.run(token, ['token']), {
    code: 0,
    out: /^\S+\n$/,
    err: /^warning: credential default: store: /,
  });
});

t.test('what made the command fail is said once', async (t) => {
  const { folder } = await folderFor(
    t,
    secret,
    '[credential.crm]\ngrant_type = pkce\nclient_id = x\n[store]\ntype = file\npath = state\n',
  );
  writeFileSync(join(folder.dir, 'state'), 'no folder');
  const { code, err } = await folder.run(token, ['token', 'crm']);
  t.not(code, 0);
  t.equal(err.split('\n').length, 2, err);
});
