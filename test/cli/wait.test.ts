// `gcg wait` as a process: blocks until the gateway is ready, gives up in time, and loads nothing of the server. And
// the completion scripts.

import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { startCommand } from '../helpers/command.ts';
import { MAIN } from '../helpers/program.ts';

/** Something that says `waiting` until it is told to be ready. */
async function startHealth(t: { teardown(fn: () => unknown): unknown }) {
  let isReady = false;
  let asked = 0;
  const server = createServer((_request, response) => {
    asked += 1;
    const credentials = [{ name: 'crm', required: true, token: isReady ? 'fresh' : 'none', renewal: 'backoff' }];
    response
      .writeHead(isReady ? 200 : 503, { 'X-Gateway-Request-Id': '1' })
      .end(JSON.stringify({ status: isReady ? 'ready' : 'waiting', credentials }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return {
    listen: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    becomeReady: () => {
      isReady = true;
    },
    asked: () => asked,
  };
}
const SOME = { GCG_CREDENTIAL_CLIENT_ID: 'x', GCG_CREDENTIAL_CLIENT_SECRET: 'y' };

t.test('blocks while the gateway is waiting for its token, and ends with 0 when it is ready', async (t) => {
  const health = await startHealth(t);
  const command = startCommand(t, ['wait', '--listen', health.listen], { env: SOME });
  await command.until('waiting: credential crm could not obtain a token yet, and tries again (gcg status says why)');
  health.becomeReady();
  t.equal(await command.ended, 0);
  t.ok(health.asked() > 1);
  t.equal(command.stdout(), '');
});

t.test('gives up after --timeout with 1 and says why', async (t) => {
  const health = await startHealth(t);
  const command = startCommand(t, ['wait', '--timeout', '5s', '--listen', health.listen], { env: SOME });
  t.equal(await command.ended, 1);
  t.match(command.stderr(), /not ready within 5 s: credential crm could not obtain/);
});

t.test('waits for a gateway that is not running yet', async (t) => {
  const command = startCommand(t, ['wait', '--timeout', '5s', '--listen', '127.0.0.1:1'], { env: SOME });
  await command.until('waiting: no gateway is running there');
  command.child.kill();
  await command.ended;
});

t.test('SIGUSR1 starts no inspector in a command either', async (t) => {
  const health = await startHealth(t);
  const command = startCommand(t, ['wait', '--listen', health.listen], { env: SOME });
  await command.until('waiting: credential crm');
  command.child.kill('SIGUSR1');
  health.becomeReady();
  t.equal(await command.ended, 0);
  t.notMatch(command.stderr(), /Debugger listening/);
});

t.test('a bad duration is 2', async (t) => {
  const command = startCommand(t, ['wait', '--timeout', 'soon'], { env: SOME });
  t.equal(await command.ended, 2);
});

t.test('loads no server code', async (t) => {
  const wait = new URL('../../src/cli/commands/healthcheck.ts', import.meta.url);
  const script =
    `import Module from 'node:module'; await import(${JSON.stringify(wait.href)}); ` +
    `console.log(Object.keys(Module._cache).join('\\n'))`;
  const loaded = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  t.notMatch(loaded, /fastify|undici|pino/);
});

t.test('completion scripts name commands, flags and settings, and no secret', async (t) => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const command = startCommand(t, ['completion', shell]);
    t.equal(await command.ended, 0);
    for (const word of ['healthcheck', 'timeout', 'rate_limit.queue_max=', 'log-level'])
      t.ok(command.stdout().includes(word), `${shell}: ${word}`);
    t.notMatch(command.stdout(), /client_secret(?!_command)|encryption_key/);
  }
  const other = startCommand(t, ['completion', 'powershell']);
  t.equal(await other.ended, 2);
});

t.test('bash completes what was begun', { skip: hasBash() ? false : 'no bash here' }, async (t) => {
  const complete = (words: string[], cwd?: string) => {
    const script =
      'source <("$0" "$1" completion bash); compopt() { :; }; ' +
      `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _gcg; echo ` +
      `"\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', script, process.execPath, MAIN], { encoding: 'utf8', cwd }).trim();
  };
  t.equal(complete(['gcg', 'heal']), 'healthcheck');
  t.equal(complete(['gcg', 'wait', '--t']), '--timeout');
  t.equal(complete(['gcg', 'serve', '--set', 'store.p']), 'store.path= store.prefix=');
  t.equal(complete(['gcg', 'serve', '--log-level', 'd']), 'debug');
  t.equal(complete(['gcg', 'demo', '--simulate', 'r']), 'rate-limit rotation');
  t.equal(complete(['gcg', 'init', '--grant-type', 'p']), 'pkce');
  const cwd = t.testdir({ 'gcg.ini': '[credential]\n[credential.crm]\n[credential.$(touch ran)]\n[credential.c-2]\n' });
  t.equal(complete(['gcg', 'login', 'c'], cwd), 'crm c-2');
  t.equal(complete(['gcg', 'run', '--', 'bas'], cwd).split(' ').includes('bash'), true);
});

function hasBash(): boolean {
  try {
    execFileSync('bash', ['-c', 'true']);
    return true;
  } catch {
    return false;
  }
}
