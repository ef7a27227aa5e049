// A result that nobody takes: a reader that has gone is no failure of the command, a full disk is.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import t, { type Test } from 'tap';
import { watchOutputs } from '../../src/cli/io.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { MAIN } from '../helpers/program.ts';

const { id, secret = '' } = DEMO_CLIENTS.clientCredentials;

async function environment(t: Test) {
  const sandbox = createSandbox();
  const { host, port } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  return {
    ...childEnvironment,
    HOME: '/nonexistent',
    GCG_PROXY_OFF: 'true',
    GCG_CREDENTIAL_CLIENT_ID: id,
    GCG_CREDENTIAL_CLIENT_SECRET: secret,
    GCG_GATEWAY_HOST: host,
    GCG_GATEWAY_PORT: String(port),
    GCG_GATEWAY_PROTOCOL: 'http',
  };
}

for (const argv of [['check', '--online'], ['token'], ['doctor'], ['config', '--schema'], ['help', 'settings']]) {
  t.test(`gcg ${argv.join(' ')} into a pipe that nobody reads ends with its own code and without words`, async (t) => {
    const child = spawn(process.execPath, [MAIN, ...argv], {
      cwd: t.testdir(),
      env: await environment(t),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    let err = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const [code] = await once(child, 'close');
    t.equal(code, 0, err);
    t.equal(err, '');
  });
}

t.test('a result that a full disk does not take is 1, and said', { skip: !existsSync('/dev/full') }, async (t) => {
  const full = openSync('/dev/full', 'w');
  const env = { ...childEnvironment, HOME: '/nonexistent' };
  const { status, stderr } = spawnSync(process.execPath, [MAIN, '--help'], {
    cwd: t.testdir(),
    env,
    stdio: ['ignore', full, 'pipe'],
  });
  closeSync(full);
  t.equal(status, 1);
  t.equal(String(stderr), 'gcg: the result could not be written (ENOSPC): is the disk full?\n');
});

t.test('the code of a command that failed stays, whatever became of its output', async (t) => {
  for (const [error, code, expected, said] of [
    ['ENOSPC', 0, 1, /could not be written \(ENOSPC\)/],
    ['ENOSPC', 77, 77, /^$/],
    ['EPIPE', 0, 0, /^$/],
    ['EPIPE', 77, 77, /^$/],
  ] as const) {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()] as unknown as [
      NodeJS.WriteStream,
      NodeJS.WriteStream & PassThrough,
    ];
    const outputs = watchOutputs({ stdout, stderr });
    stdout.destroy(Object.assign(new Error('no'), { code: error }));
    t.equal(await outputs.settle(code), expected);
    t.match(String(stderr.read() ?? ''), said);
  }
});
