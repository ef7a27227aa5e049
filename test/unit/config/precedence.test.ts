// Flags over environment over file over defaults; and where the file is looked for.

import t from 'tap';
import { ClosedFolderError, searchPath } from '../../../src/config/file.ts';
import { configCandidates } from '../../../src/config/find-file.ts';
import { parseSetFlag, shortFlag } from '../../../src/config/flags.ts';
import { good, load, problems, warnings } from './load-text.ts';

const HOME = '/home/someone';

t.test('flags beat the environment, which beats the file, which beats the default', async (t) => {
  const level = (input: Parameters<typeof load>[0]) => good(load(input)).logging.level;
  const file = '[logging]\nlog_level = warn';
  const env = { GCG_LOGGING_LOG_LEVEL: 'debug' };
  t.equal(level({}), 'info');
  t.equal(level({ file }), 'warn');
  t.equal(level({ file, env }), 'debug');
  t.equal(level({ file, env, set: ['logging.log_level=trace'] }), 'trace');
  t.equal(level({ set: ['logging.log_level=trace', 'logging.log_level=error'] }), 'error', 'the later flag counts');
  t.equal(level({ overrides: { entries: [shortFlag('log-level', 'none')] } }), 'none');
});

t.test('each problem names the source it comes from', async (t) => {
  t.match(
    problems(load({ file: '[logging]\nlog_level = a', env: { GCG_TIMEOUTS_BODY: 'b' }, set: ['server.listen=c'] })),
    [
      /^gcg\.ini:2: logging\.log_level: "a"/,
      /^flag --set server\.listen: server\.listen: "c"/,
      /^env GCG_TIMEOUTS_BODY: timeouts\.body: "b"/,
    ],
  );
});

t.test('--set needs a section, a key that exists, and an equals sign', async (t) => {
  for (const text of [
    'listen=1',
    'server.listen',
    '=x',
    'server.=x',
    'server.listn=x',
    'sever.listen=x',
    'client.secret_sha256=x',
    'credential.api.host=x',
  ])
    t.equal(parseSetFlag(text).ok, false, text);
  t.match(parseSetFlag('server.listn=x'), { message: /did you mean "listen"/ });
  t.match(parseSetFlag('credential.crm.client_id=a=b'), {
    value: { section: 'credential.crm', key: 'client_id', value: { text: 'a=b' } },
  });
  t.match(parseSetFlag('upstream.headers.Genesys-App=x'), { ok: true });
});

t.test('the first file of the search path counts', async (t) => {
  const places = searchPath({ env: {}, cwd: '/srv/app', home: HOME, platform: 'linux' }).map(({ path }) => path);
  t.strictSame(places, [
    '/srv/app/gcg.ini',
    '/srv/app/gcg.json',
    `${HOME}/.config/genesys-cloud-gateway/config.ini`,
    `${HOME}/.config/genesys-cloud-gateway/config.json`,
    '/etc/genesys-cloud-gateway/config.ini',
    '/etc/genesys-cloud-gateway/config.json',
    `${HOME}/.genesyscloudjavascript/config`,
  ]);
  for (const [index, path] of places.entries()) {
    const files = Object.fromEntries(
      places.slice(index).map((other) => [other, `[store]\nprefix = p${places.indexOf(other)}`]),
    );
    const config = good(load({ files }));
    t.equal(config.store.prefix, `p${index}`, path);
    t.strictSame(config.files, [path]);
  }
});

t.test('$XDG_CONFIG_HOME counts when it is absolute; a machine without a home folder has fewer places', async (t) => {
  const places = (input: object) =>
    searchPath({ env: {}, cwd: '/srv/app', home: HOME, platform: 'linux', ...input }).map(({ path }) => path);
  t.match(places({ env: { XDG_CONFIG_HOME: '/xdg' } })[2], '/xdg/genesys-cloud-gateway/config.ini');
  t.match(places({ env: { XDG_CONFIG_HOME: 'relative' } })[2], HOME);
  t.equal(places({ home: undefined }).length, 4);
});

t.test('on Windows %APPDATA% and the profile folder are used', async (t) => {
  const places = searchPath({
    env: { APPDATA: 'C:\\Users\\x\\AppData\\Roaming' },
    cwd: 'C:\\work',
    home: 'C:\\Users\\x',
    platform: 'win32',
  }).map(({ path }) => path);
  t.strictSame(places, [
    'C:\\work\\gcg.ini',
    'C:\\work\\gcg.json',
    'C:\\Users\\x\\AppData\\Roaming\\genesys-cloud-gateway\\config.ini',
    'C:\\Users\\x\\AppData\\Roaming\\genesys-cloud-gateway\\config.json',
    'C:\\Users\\x\\.genesyscloudjavascript\\config',
  ]);
  const windows = {
    platform: 'win32',
    cwd: 'C:\\work',
    home: 'C:\\Users\\x',
    files: { 'C:\\work\\gcg.ini': '[logging]\nlog_file_path = logs\\gcg.log\n' },
    mode: 0o666,
  } as const;
  t.equal(good(load(windows)).logging.filePath, 'C:\\work\\logs\\gcg.log');
  t.equal(
    good(load({ ...windows, env: { LOCALAPPDATA: 'D:\\local' } })).store.path,
    'D:\\local\\genesys-cloud-gateway',
  );
  t.equal(good(load(windows)).store.path, 'C:\\Users\\x\\AppData\\Local\\genesys-cloud-gateway');
});

t.test('--config beats GCG_CONFIG, and a file that was asked for must be there', async (t) => {
  const files = {
    '/srv/app/a.ini': '[store]\nprefix = a',
    '/b.ini': '[store]\nprefix = b',
    '/srv/app/gcg.ini': '[store]\nprefix = no',
  };
  t.equal(good(load({ files, env: { GCG_CONFIG: '/b.ini' } })).store.prefix, 'b');
  t.equal(good(load({ files, env: { GCG_CONFIG: '/b.ini' }, overrides: { configPath: 'a.ini' } })).store.prefix, 'a');
  t.strictSame(problems(load({ files, overrides: { configPath: 'c.ini' }, requireCredential: true })), [
    'flag --config: c.ini does not exist; fix the path, or let "gcg init" write one',
  ]);
  t.strictSame(problems(load({ env: { GCG_CONFIG: '' } })), ['env GCG_CONFIG: is empty; name a file']);
  t.strictSame(
    configCandidates({ env: {}, cwd: '/srv/app', home: HOME, platform: 'linux', overrides: { configPath: 'c.ini' } }),
    ['/srv/app/c.ini'],
  );
});

t.test('a file in the search path that is there but cannot be read is an error, not passed over', async (t) => {
  const result = load({
    readFile() {
      throw Object.assign(new Error('no'), { code: 'EACCES' });
    },
  });
  t.strictSame(problems(result), ['gcg.ini: may not be read by this user; change its owner or its permissions']);
});

t.test('a folder of the search path that may not be entered is left out, with one warning', async (t) => {
  const result = load({
    readFile(path) {
      throw path.startsWith(HOME) ? new ClosedFolderError(path) : Object.assign(new Error('no'), { code: 'ENOENT' });
    },
    env: { GCG_STORE_PREFIX: 'mine' },
  });
  t.equal(good(result).store.prefix, 'mine');
  t.strictSame(
    warnings(result),
    [`${HOME}/.config/genesys-cloud-gateway`, `${HOME}/.genesyscloudjavascript`].map(
      (folder) => `${folder}: this user may not look for a configuration there; it is left out`,
    ),
  );
});

t.test('log_format depends on the terminal', async (t) => {
  t.equal(good(load({ isTTY: true })).logging.format, 'text');
  t.equal(good(load({ isTTY: false })).logging.format, 'json');
  t.equal(good(load({ isTTY: true, set: ['logging.log_format=json'] })).logging.format, 'json');
});

t.test('all problems are reported at once, in the order of the file, none of them twice', async (t) => {
  const found = problems(
    load({
      file:
        '[server]\nlisten = x,\nnonsense = 1\n[nowhere]\na = 1\nb = 2\n[retry]\nretry_max = 99\n[timeouts]\nbody = ' +
        '-1',
    }),
  );
  t.match(found, [
    /^gcg\.ini:2: server\.listen/,
    /^gcg\.ini:3: there is no key "server\.nonsense"/,
    /^gcg\.ini:4: there is no section "\[nowhere\]"/,
    /^gcg\.ini:8: retry\.retry_max/,
    /^gcg\.ini:10: timeouts\.body/,
  ]);
  t.equal(found.length, 5);
});

t.test('loading again gives an equal configuration, and nothing of the first is changed', async (t) => {
  const input = {
    file: '[credential]\nclient_id = x\nclient_secret = y\n[server]\ncors_origins[] = https://a.example',
  };
  const first = good(load(input));
  const json = JSON.stringify(first);
  good(load({ file: '' }));
  t.equal(JSON.stringify(good(load(input))), json);
  t.equal(JSON.stringify(first), json);
  t.strictSame(warnings(load(input)), []);
});
