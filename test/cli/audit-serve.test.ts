// `gcg serve` with an audit trail: rotation by signal, a second gateway, a file that cannot be used; and `gcg usage`.

import { renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseCommandLine } from '../../src/cli/args.ts';
import { audit } from '../../src/cli/commands/audit.ts';
import { usage } from '../../src/cli/commands/usage.ts';
import type { Io } from '../../src/cli/io.ts';
import { startCommand } from '../helpers/command.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { startServed } from '../helpers/served.ts';
import { readLines, until } from '../unit/audit/trail-fixtures.ts';

/** Runs a command in a folder that is there already. */
async function runIn(cwd: string, command: typeof usage, ...argv: string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const parsed = parseCommandLine(argv);
  if (parsed.kind !== 'run') throw new Error(parsed.kind);
  const io: Io = {
    stdout: { write: (text: string) => out.push(text) },
    stderr: { write: (text: string) => err.push(text) },
    env: {},
    cwd,
    isTTY: false,
    home: undefined,
    platform: 'linux',
  };
  return { code: await command(parsed, io), out: out.join(''), err: err.join('') };
}

const AUDITED = '[audit]\nfile = audit.jsonl\n[store]\ntype = file\npath = state\n';

t.test('SIGUSR2 and SIGHUP open the file that was rotated again, and the whole trail verifies', async (t) => {
  const { url, folder, command } = await startServed(t, AUDITED);
  const file = join(folder, 'audit.jsonl');
  const call = async () => (await fetch(`${url}/api/v2/sandbox/echo`, { method: 'PATCH' })).text();
  for (const [at, signal] of (['SIGUSR2', 'SIGHUP'] as const).entries()) {
    await call();
    renameSync(file, `${file}.${at}`);
    command.child.kill(signal);
    await until(() => {
      try {
        return readLines(file)[0]?.kind === 'continued';
      } catch {
        return false;
      }
    });
  }
  await call();

  const beside = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], { cwd: folder });
  t.equal(await beside.ended, 78);
  t.match(beside.stderr(), /^audit\.file: .*audit\.jsonl is written by another gateway/m);

  const told = await runIn(folder, usage, 'usage', '--listen', new URL(url).host);
  // Two are the gateway's own: what the limits are, and whose the token is.
  t.match(told, {
    code: 0,
    out: new RegExp(
      '^5 requests to Genesys Cloud in .*\\n\\nCLIENT.*\\n- +default +unlisted +3\\n' +
        '- +default +getOrganizationsLimitsNamespace +1\\n- +default +getTokensMe +1\\n$',
    ),
  });
  t.match(await runIn(folder, usage, 'usage', '--month', '13'), { code: 2, err: /like 2026-11/ });
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 0);
  t.match(await runIn(folder, audit, 'audit', 'verify', 'audit.jsonl*'), { code: 0, out: /3 calls in 3 files/ });
});

t.test('a file that is no trail: exit 78, and the file stays as it is', async (t) => {
  const { dir } = createCommandFolder(t, `[credential]\nclient_id = a\nclient_secret = b\n${AUDITED}`);
  writeFileSync(join(dir, 'audit.jsonl'), 'something else\n', { mode: 0o644 });
  const command = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], { cwd: dir });
  t.equal(await command.ended, 78);
  t.match(command.stderr(), /^audit\.file: .*is not an audit trail/m);
  t.equal(statSync(join(dir, 'audit.jsonl')).mode & 0o777, 0o644);
});

t.test('the log cannot take the file of the trail in use, which a reload cannot change', async (t) => {
  const { configText, swapConfig, record, folder } = await startServed(t, AUDITED);
  swapConfig(configText('[logging]\nlog_file_path = audit.jsonl'));
  const { problems } = await record('configuration refused, the previous one stays in use', 1);
  t.match(problems, [/^logging\.log_file_path: .*audit\.jsonl is the audit trail until a restart/]);
  t.equal(readLines(join(folder, 'audit.jsonl')).length, 1);
});
