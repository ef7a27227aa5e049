// The examples for systemd: complete, and what they configure is a configuration that this gateway takes.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { adminAddress } from '../../src/cli/admin-client.ts';
import { loadConfig } from '../../src/config/load.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const read = (path: string) => readFileSync(`${EXAMPLES}${path}`, 'utf8');
/** What a container's environment and file come to, with every secret file there. */
function load(env: Record<string, string>, file: string | null) {
  const secretFiles = Object.entries(env).filter(([name]) => name.endsWith('_FILE'));
  // The gateway reads secret files itself: here their place is taken by one that exists.
  const here = Object.fromEntries(secretFiles.map(([name]) => [name, `${EXAMPLES}compose/compose.yaml`]));
  return loadConfig({
    env: { ...env, ...here, ...(file === null ? {} : { GCG_CONFIG: '/config.ini' }) },
    cwd: '/',
    home: undefined,
    platform: 'linux',
    readFile(path) {
      if (path !== '/config.ini' || file === null) throw Object.assign(new Error('no'), { code: 'ENOENT' });
      return {
        bytes: Buffer.from(file.replace(/_file = .*/g, `_file = ${EXAMPLES}compose/compose.yaml`)),
        mode: 0o600,
        uid: 0,
        names: [],
      };
    },
  });
}

t.test('systemd: the units say what the gateway does', async (t) => {
  const service = read('systemd/genesys-cloud-gateway.service');
  for (const line of [
    'Type=notify',
    'NotifyAccess=all',
    'RestartPreventExitStatus=2 77 78',
    'DynamicUser=yes',
    'ProtectSystem=strict',
    'NoNewPrivileges=yes',
  ]) {
    t.match(service, new RegExp(`^${line}$`, 'm'), line);
  }
  t.match(service, /^LoadCredential=client_secret:/m);
  t.match(service, /^ExecStart=.* --disable-sigusr1 --max-semi-space-size=2 .* serve /m, 'small');
  t.match(service, /^Environment=.* MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=131072$/m, 'as the image');
  t.match(service, /^ExecReload=.*-HUP/m);
  t.match(read('systemd/genesys-cloud-gateway.socket'), /^ListenStream=127\.0\.0\.1:8080$/m);
  const lines = service.match(/^# {3}(?:\[\w+\]|\w+ = .*)$/gm)?.map((line) => line.slice(4)) ?? [];
  const result = load({}, lines.join('\n'));
  if (!result.ok) return t.fail(JSON.stringify(result.problems));
  t.match(result.config.server.listen, [{ kind: 'fd', fd: 3 }]);
  t.match(adminAddress(result.config), { kind: 'tcp', host: '127.0.0.1', port: 8080 }, 'where gcg finds it');
});

t.test(
  'systemd-analyze verifies the units',
  { skip: existsSync('/usr/bin/systemd-analyze') ? false : 'no systemd-analyze here' },
  async (t) => {
    const units = ['service', 'socket'].map((kind) => `${EXAMPLES}systemd/genesys-cloud-gateway.${kind}`);
    const said = execFileSync('sh', ['-c', 'systemd-analyze verify "$@" 2>&1', 'sh', ...units], { encoding: 'utf8' });
    t.equal(
      said
        .split('\n')
        .filter((line) => line.includes('genesys-cloud-gateway'))
        .join('\n'),
      '',
    );
    // It ends with 1 where the exposure is above the threshold, in tenths.
    execFileSync(
      'sh',
      ['-c', 'systemd-analyze security --offline=true --threshold=20 --no-pager "$1"', 'sh', String(units[0])],
      { stdio: 'ignore' },
    );
  },
);
