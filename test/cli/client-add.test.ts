import { hash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Io } from '../../src/cli/io.ts';
import { run } from '../../src/cli/run.ts';
import { loadConfig } from '../../src/config/load.ts';

async function gcg(...argv: string[]) {
  let stdout = '';
  let stderr = '';
  const take = (into: (text: string) => void) => ({ write: (text: string) => into(text) });
  const io: Io = {
    stdout: take((text) => {
      stdout += text;
    }),
    stderr: take((text) => {
      stderr += text;
    }),
    env: {},
    cwd: '/',
    isTTY: false,
    home: undefined,
    platform: 'linux' as const,
  };
  return { code: await run(argv, io), stdout, stderr };
}

t.test('client add prints a secret of 256 bits once, aside, and lines that hold only its hash', async (t) => {
  const { code, stdout, stderr } = await gcg('client', 'add', 'crm');
  t.equal(code, 0);
  const secret = /^secret: (gcgk_[\w-]{43})$/m.exec(stderr)?.[1] ?? '';
  t.equal(stderr.split(secret).length, 2, 'once');
  t.equal(stdout, `\n[client.crm]\nsecret_sha256[] = ${hash('sha256', secret)}\n`, 'so that >> gcg.ini is right');
  t.not((await gcg('client', 'add', 'crm')).stdout, stdout, 'another one each time');
});

t.test('the lines are a valid configuration', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-client-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const { stdout } = await gcg('client', 'add', 'crm');
  const file = join(folder, 'gcg.ini');
  writeFileSync(file, `[credential]\nclient_id = a\nclient_secret = b\n${stdout}`, {
    mode: 0o600,
  });
  const loaded = loadConfig({
    env: {},
    cwd: folder,
    home: folder,
    platform: 'linux',
    isTTY: false,
    requireCredential: true,
    overrides: { configPath: file, entries: [] },
  });
  t.ok(loaded.ok, JSON.stringify(loaded.ok ? '' : loaded.problems));
  t.match(loaded.ok && loaded.config.clients, [{ name: 'crm', secretSha256: [/^[0-9a-f]{64}$/] }]);
});

t.test('a client that is there already is told, with the way to change a secret', async (t) => {
  const folder = t.testdir({
    'gcg.ini': '[credential]\nclient_id = a\nclient_secret = b\n[client.crm]\nsecret = 0123456789abcdef\n',
  });
  const at = `${folder}/gcg.ini`;
  const again = await gcg('client', 'add', 'crm', '--config', at);
  t.match(again.stderr, /^note: crm is a client already \(.*gcg\.ini:4\), and .*: gcg client rotate crm /m);
  t.match(again.stderr, `belong into ${at}: at its end`, 'the file that counts, not any');
  t.match(again.stdout, '[client.crm]');
  const other = await gcg('client', 'add', 'other', '--config', at);
  t.notMatch(other.stderr, /^note|^It is the first client/m);
  t.match((await gcg('client', 'add', 'crm')).stderr, /^It is the first client: .* must show a secret/m);
});

t.test('a bad name and another verb are usage errors', async (t) => {
  t.match(await gcg('client', 'add', 'Bad Name'), { code: 2, stdout: '' });
  t.match(await gcg('client', 'add', 'oauth'), { code: 2, stdout: '' });
  t.match(await gcg('client', 'remove', 'crm'), { code: 2, stdout: '' });
});
