// Where a probe asks without the table of options: it is the address that the loader finds, or none.

import fc from 'fast-check';
import t from 'tap';
import { formatListenAddress } from '../../../src/config/listen-address.ts';
import { probedAddresses } from '../../../src/config/listeners.ts';
import { plainProbeAddress } from '../../../src/config/probe-address.ts';
import { load, OWN_UID } from './load-text.ts';

interface Written {
  readonly env?: Readonly<Record<string, string>>;
  readonly file?: string | undefined;
  readonly owner?: number;
}

/** The address as it is written; null: none. */
function plain({ env = {}, file, owner = OWN_UID }: Written): string | null {
  const found = plainProbeAddress({
    env,
    cwd: '/srv/app',
    home: '/home/someone',
    platform: 'linux',
    uid: OWN_UID,
    readFile(path) {
      if (path !== '/srv/app/gcg.ini' || file === undefined)
        throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return { bytes: Buffer.from(file), mode: 0o600, uid: owner, names: [] };
    },
  });
  return found === undefined ? null : formatListenAddress(found);
}

/** What the loader finds, also where it finds mistakes; null where it is none, or behind TLS. */
function loaded({ env = {}, file, owner = OWN_UID }: Written): string | null {
  const result = load({ env, owner, ...(file !== undefined && { file }) });
  const { server } = result.ok ? result.config : result.readable().config;
  const { health, other } = probedAddresses(server);
  const found = health ?? (other?.kind === 'tcp' && server.tls !== null ? undefined : other);
  return found === undefined ? null : formatListenAddress(found);
}

const FOUND: readonly (readonly [Written, string])[] = [
  [{}, '127.0.0.1:8080'],
  [{ env: { GCG_SERVER_LISTEN: '127.0.0.1:9000' } }, '127.0.0.1:9000'],
  [{ env: { GCG_DEFAULT_SERVER_LISTEN: '0.0.0.0:9000' } }, '0.0.0.0:9000'],
  [{ env: { GCG_DEFAULT_SERVER_LISTEN: '0.0.0.0:9000' }, file: '[server]\nlisten = [::1]:81\n' }, '[::1]:81'],
  [{ file: '[server]\nlisten = 127.0.0.1:81, 127.0.0.1:82\n' }, '127.0.0.1:81'],
  [{ file: '[server]\nlisten[] = 127.0.0.1:81\nlisten[] = 127.0.0.1:82\n' }, '127.0.0.1:81'],
  [{ file: '{"server": {"listen": ["127.0.0.1:81"], "health_listen": "127.0.0.1:82"}}' }, '127.0.0.1:82'],
  [{ file: '[server]\nlisten = 0.0.0.0:81\nadmin_listen = unix:/run/admin\n' }, 'unix:/run/admin'],
  [{ file: '[server]\nlisten = 0.0.0.0:81\nadmin_listen = none\n' }, '0.0.0.0:81'],
  [{ file: '[server]\nlisten = fd:3@127.0.0.1:81\n' }, '127.0.0.1:81'],
  [{ file: '[server]\nhealth_listen = 127.0.0.1:82\n[server.tls]\ncert_file = x\nkey_file = y\n' }, '127.0.0.1:82'],
  [{ file: '[server]\nlisten = 127.0.0.1:81\n[credential]\nsecrt = x\n[sever]\n' }, '127.0.0.1:81'],
];

t.test('an address that is written plainly is found, and is the one that the loader finds', async (t) => {
  for (const [written, address] of FOUND) {
    t.equal(plain(written), address, JSON.stringify(written));
    t.equal(loaded(written), address, 'the loader');
  }
});

t.test('nothing is said where only the loader knows what is meant', async (t) => {
  const unclear: readonly Written[] = [
    { file: '[server]\nlisten = 127.0.0.1:81\n[server.tls]\ncert_file = x\nkey_file = y\n' },
    { env: { GCG_SERVER_TLS_CERT_FILE: 'x' } },
    { env: { GCG_DEFAULT_SERVER_TLS_CERT_FILE: 'x' } },
    { file: '[server]\nlisten = fd:3\n' },
    { file: '[server]\nlisten = 127.0.0.1:81\nlisten = 127.0.0.1:82\n' },
    { file: '[server]\nlisten = 127.0.0.1:81\n[server\n' },
    { file: '[server]\nlisten = 127.0.0.1:99999\n' },
    { file: '{"server": {"listen": 81}}' },
    { file: '[server]\nlisten =\n' },
    { env: { GCG_SERVER_LISTEN: '' } },
    { env: { GCG_SERVER_LISTEN: '127.0.0.1:81,127.0.0.1:81' } },
    { env: { GCG_CONFIG: '/nowhere.ini' } },
    { env: { GCG_CONFIG: '' } },
    { file: '[server]\nlisten = 127.0.0.1:81\n', owner: OWN_UID + 1 },
  ];
  for (const written of unclear) t.equal(plain(written), null, JSON.stringify(written));
});

const words = fc.constantFrom(
  ...['127.0.0.1:81', '[::1]:82', '0.0.0.0:83', 'localhost:84', 'unix:/run/a', 'fd:3', 'fd:4@127.0.0.1:85', 'none'],
  ...[
    'NONE',
    '',
    ' ',
    '81',
    ':81',
    '127.0.0.1:0',
    '127.0.0.1:99999',
    '127.1:1',
    '\u0001',
    '"127.0.0.1:86"',
    "'x'",
    '\\#',
  ],
);
const list = fc.oneof(
  words,
  fc.array(words, { maxLength: 3 }).map((items) => items.join(', ')),
);
const key = fc.constantFrom('listen', 'admin_listen', 'health_listen', 'listen[]', 'Listen', 'lissten', 'read_only');
const line = fc.oneof(
  fc.tuple(key, list).map(([name, value]) => `${name} = ${value}`),
  fc.constantFrom(
    '[server]',
    '[server]',
    '[server.tls]',
    '[gateway]',
    '[sever]',
    '[server',
    'cert_file = x',
    'key_file = y',
  ),
);
const ini = fc.array(line, { maxLength: 8 }).map((lines) => `[server]\n${lines.join('\n')}\n`);
const json = fc
  .dictionary(key, fc.oneof(list, fc.array(words, { maxLength: 3 }), fc.integer(), fc.boolean()), { maxKeys: 4 })
  .map((server) => JSON.stringify({ server }));
const variable = fc.constantFrom(
  ...['LISTEN', 'ADMIN_LISTEN', 'HEALTH_LISTEN'].flatMap((name) => [
    `GCG_SERVER_${name}`,
    `GCG_DEFAULT_SERVER_${name}`,
  ]),
);

t.test('whatever is written, it is the address of the loader or none', async (t) => {
  let found = 0;
  fc.assert(
    fc.property(
      fc.dictionary(variable, list, { maxKeys: 3, noNullPrototype: true }),
      fc.option(fc.oneof(ini, json), { nil: undefined }),
      (env, file) => {
        const address = plain({ env, file });
        if (address === null) return true;
        found += 1;
        return address === loaded({ env, file });
      },
    ),
    { numRuns: 2_000 },
  );
  t.ok(found > 200, `${found} of them were found`);
});
