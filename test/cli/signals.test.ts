// Signals and faults of the process: SIGTERM under load, SIGHUP, SIGUSR1 and SIGUSR2, and what the service manager is
// told.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { childEnvironment } from '../helpers/fast-start.ts';
import { startServed } from '../helpers/served.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** What became of one call. */
type Outcome = 'answered' | 'refused with draining' | 'no connection' | string;

t.test(
  'SIGTERM under load: every accepted call is answered, new ones are refused as documented, exit 0 in time',
  async (t) => {
    const served = await startServed(t, '[logging]\nlog_level = info');
    served.sandbox.set({ latencyMs: 40 });
    const agent = new Agent({ keepAlive: true, maxSockets: 200 });
    t.teardown(() => agent.destroy());
    const outcomes = new Map<Outcome, number>();
    let isOver = false;
    const one = () =>
      new Promise<Outcome>((resolve) => {
        let hasConnected = false;
        const call = httpRequest(`${served.url}/api/v2/users?pageSize=25`, { agent }, (answer) => {
          let length = 0;
          answer.on('data', (chunk: Buffer) => {
            length += chunk.length;
          });
          answer.on('error', () => resolve('cut in the middle'));
          answer.on('end', () => {
            if (answer.statusCode === 200 && length === Number(answer.headers['content-length'] ?? length))
              resolve('answered');
            else if (answer.headers['x-gateway-error'] === 'gateway.draining' && answer.headers.connection === 'close')
              resolve('refused with draining');
            else resolve(`answered ${answer.statusCode}`);
          });
        });
        call.on('socket', (socket) => {
          if (!socket.connecting) hasConnected = true;
          socket.once('connect', () => {
            hasConnected = true;
          });
        });
        // A connection that was idle may be closed in the moment in which it is used again (RFC 9112, section 9.3.1):
        // it was not accepted.
        call.on('error', (error: NodeJS.ErrnoException) =>
          resolve(hasConnected && !call.reusedSocket ? `lost: ${error.code}` : 'no connection'),
        );
        call.end();
      });
    const callers = Array.from({ length: 100 }, async () => {
      while (!isOver) {
        const outcome = await one();
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (outcome === 'no connection') break;
      }
    });
    await served.record('exchange', 400);
    const startedAt = performance.now();
    served.command.child.kill('SIGTERM');
    t.equal(await served.command.ended, 0);
    const tookMs = performance.now() - startedAt;
    isOver = true;
    await Promise.all(callers);
    t.ok(tookMs < 10_000, `it took ${Math.round(tookMs)} ms`);
    t.comment(JSON.stringify({ ...Object.fromEntries(outcomes), tookMs: Math.round(tookMs) }));
    t.same(
      [...outcomes.keys()].filter((key) => !['answered', 'refused with draining', 'no connection'].includes(key)),
      [],
    );
    t.ok((outcomes.get('answered') ?? 0) >= 400);
    // Two calls are the gateway's own: whose the token is, and what its limits are.
    const arrived = served.sandbox.stats.apiCallsTotal - 2;
    t.ok(
      arrived <= (outcomes.get('answered') ?? 0),
      'nothing reached the upstream whose answer did not reach its caller',
    );
  },
);

t.test('SIGUSR2 and SIGHUP reopen the log file that logrotate moved', async (t) => {
  const served = await startServed(t);
  const file = join(served.folder, 'gateway.log');
  served.swapConfig(served.configText(`[logging]\nlog_file_path = ${file}`));
  await served.record('configuration reloaded', 1);
  let moves = 0;
  for (const signal of ['SIGUSR2', 'SIGHUP'] as const) {
    moves += 1;
    renameSync(file, `${file}.${moves}`);
    served.command.child.kill(signal);
    while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 5));
    await (await fetch(`${served.url}/api/v2/users?pageSize=${moves}`)).text();
    while (!readFileSync(file, 'utf8').includes(`pageSize=${moves}`))
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.pass('both did');
});

const hasScript = existsSync('/usr/bin/script') && process.platform === 'linux';

t.test('the terminal it was started from is closed: it ends', { skip: !hasScript && 'no script here' }, async (t) => {
  const folder = t.testdir();
  const log = join(folder, 'gateway.log');
  const command =
    `exec '${process.execPath}' '${MAIN}' demo --listen 127.0.0.1:0 --log-format json ` +
    `--set logging.log_file_path='${log}'`;
  const terminal = spawn('/usr/bin/script', ['-qec', command, '/dev/null'], { cwd: folder, stdio: 'pipe' });
  const said = () => [`${log}.1`, log].map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')).join('');
  const until = async (text: RegExp) => {
    while (!text.test(said())) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  t.teardown(() => terminal.kill('SIGKILL'));
  await until(/"msg":"ready"/);
  const pid = Number(/"pid":(\d+)/.exec(said())?.[1]);
  t.teardown(() => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {}
  });
  // Where it does not end, it opens the log anew.
  renameSync(log, `${log}.1`);
  process.kill(pid, 'SIGHUP');
  terminal.stdin.write('still there');
  while (!existsSync(log) && !said().includes('draining')) await new Promise((resolve) => setTimeout(resolve, 5));
  t.notMatch(said(), 'draining', 'a signal from elsewhere ends nothing while the terminal is there');
  terminal.kill('SIGKILL');
  await until(/"msg":"stopped"/);
  t.match(said(), /"reason":"the terminal was closed"/);
});

t.test('SIGUSR1 starts no inspector', async (t) => {
  const served = await startServed(t);
  served.command.child.kill('SIGUSR1');
  t.equal((await fetch(`${served.url}/livez`)).status, 200);
  served.command.child.kill('SIGTERM');
  t.equal(await served.command.ended, 0);
  t.notMatch(served.command.stderr(), /Debugger listening/);
});

t.test('the service manager is told by its own program, which sees nothing else of the environment', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-notify-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const told = join(folder, 'told');
  const program = join(folder, 'systemd-notify');
  writeFileSync(
    program,
    `#!/bin/sh\n{ echo "$@"; echo "socket=$NOTIFY_SOCKET secret=$GCG_CREDENTIAL_OTHER_CLIENT_SECRET"; } >> ${told}\n`,
  );
  chmodSync(program, 0o755);
  const served = await startServed(t, '', {
    PATH: `${folder}:${process.env.PATH}`,
    NOTIFY_SOCKET: '/run/nobody/notify',
    GCG_CREDENTIAL_OTHER_CLIENT_ID: 'other',
    GCG_CREDENTIAL_OTHER_CLIENT_SECRET: 'a-secret-of-the-environment',
  });
  served.swapConfig(served.configText('[retry]\nretry_max = 1'));
  served.command.child.kill('SIGHUP');
  await served.record('configuration reloaded', 1);
  served.command.child.kill('SIGTERM');
  t.equal(await served.command.ended, 0);
  const lines = readFileSync(told, 'utf8').trim().split('\n');
  const notices = lines.filter((line) => !line.startsWith('socket=')).map((line) => line.replace(/USEC=\d+/, 'USEC=n'));
  t.equal(notices[0], 'READY=1');
  t.same(notices.slice(1, 3), ['RELOADING=1 MONOTONIC_USEC=n', 'READY=1']);
  t.equal(notices.at(-1), 'STOPPING=1');
  t.ok(
    lines.filter((line) => line.startsWith('socket=')).every((line) => line === 'socket=/run/nobody/notify secret='),
  );
});

t.test('a fault that nobody caught is logged without its message, and ends the process with 1', async (t) => {
  const events = new URL('../../src/cli/process-events.ts', import.meta.url);
  const held = new URL('../../src/cli/held-signals.ts', import.meta.url);
  const script = `
    const { ProcessEvents } = await import(${JSON.stringify(events.href)});
    const { HeldSignals } = await import(${JSON.stringify(held.href)});
    const log = { info() {}, error: (fields, msg) => console.log(JSON.stringify({ ...fields, msg })), reopen() {} };
    const { ending } = new ProcessEvents({ signals: new HeldSignals(), log, onEnding() {} });
    console.log(JSON.stringify({ excludeEnv: process.report.excludeEnv }));
    setTimeout(() => { throw Object.assign(new RangeError('the secret is s3cret-of-somebody'), { code: 'E_CODE' }); });
    setInterval(() => {}, 1000);
    process.exit(await ending);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  t.equal(code, 1);
  t.match(said, /"excludeEnv":true/);
  t.match(said, /"error":"RangeError","code":"E_CODE","at":\["at /);
  t.match(said, /"msg":"uncaught exception"/);
  t.notMatch(said, /s3cret/);
});

/** Stops the process at the moment in which it loads a module, and goes on when its stdin is closed. */
function stopAt(module: string): string {
  const script = `
    import { registerHooks } from 'node:module';
    import { readSync, writeSync } from 'node:fs';
    registerHooks({
      load(url, context, next) {
        if (url.endsWith(${JSON.stringify(module)})) {
          writeSync(2, 'stopped\\n');
          readSync(0, Buffer.alloc(1));
        }
        return next(url, context);
      },
    });`;
  return `--import=data:text/javascript,${encodeURIComponent(script)}`;
}

/**
 * Starts `gcg command` over a configuration without a network, sends the signal when it loads the module, and lets it
 * go on.
 */
async function signalAtStart(t: Test, command: string, module: string, signal: NodeJS.Signals) {
  const folder = t.testdir();
  const config = join(folder, 'gcg.ini');
  writeFileSync(
    config,
    '[server]\nlisten = 127.0.0.1:0\n[credential]\naccess_token = a-token\n[general]\nlive_reload_config = false',
    {
      mode: 0o600,
    },
  );
  // Without what the test runner puts in: it listens to signals itself.
  const line = ['-u', 'NODE_OPTIONS', process.execPath, stopAt(module), MAIN, command, '--config', config];
  const child = spawn('env', line, { env: childEnvironment, stdio: 'pipe' });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  let wake = () => {};
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      wake();
    });
  }
  const ended = once(child, 'close').then(([code, by]) => {
    wake();
    return (code ?? by) as number | string;
  });
  const until = async (text: string) => {
    while (!said.includes(text) && child.exitCode === null && child.signalCode === null)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  };
  await until('stopped');
  child.kill(signal);
  child.stdin.end();
  return { child, ended, until, said: () => said };
}

/**
 * In which module which signals come. Of the two that end the program each comes in the first and in the last; of those
 * that change something in it, all in the first or the last, where SIGHUP comes in both.
 */
const AT_START = {
  '/cli/serving.ts': ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'],
  '/cli/commands/serve.ts': ['SIGTERM', 'SIGHUP'],
  '/src/gateway.ts': ['SIGINT', 'SIGUSR1'],
  '/server/app.ts': ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'],
} as const;

for (const [module, signals] of Object.entries(AT_START)) {
  for (const signal of signals) {
    if (signal === 'SIGTERM' || signal === 'SIGINT') {
      t.test(`${signal} while ${module} is loaded ends with 0`, async (t) => {
        const { ended } = await signalAtStart(t, 'serve', module, signal);
        t.equal(await ended, 0);
      });
    } else {
      t.test(`${signal} while ${module} is loaded does not keep the gateway from starting`, async (t) => {
        const { child, ended, until, said } = await signalAtStart(t, 'serve', module, signal);
        await until('"msg":"listening"');
        if (signal === 'SIGHUP') await until('"msg":"configuration reloaded"');
        t.match(said(), /"msg":"listening"/);
        t.notMatch(said(), /Debugger/);
        if (signal === 'SIGHUP') t.match(said(), /"trigger":"signal".*"configuration reloaded"/);
        child.kill('SIGTERM');
        t.equal(await ended, 0);
      });
    }
  }
}

t.test('a command that serves nobody is ended by a signal as any program is, also while it is loaded', async (t) => {
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
    const { ended } = await signalAtStart(t, 'wait', '/cli/probes.ts', signal);
    t.equal(await ended, signal);
  }
});
