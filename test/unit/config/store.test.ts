// [store]: which settings belong together, and where a server is.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { formatRedisAddress, parseRedisUrl } from '../../../src/config/redis-url.ts';
import { store } from '../../../src/config/sections/store.ts';
import { restartKeys } from '../../../src/reload/changes.ts';
import { createTestCa } from '../../helpers/certificates.ts';
import { good, problems, warnings, withCredential } from './load-text.ts';

const KEY = 'encryption_key = 0123456789abcdef0123456789abcdef';
const LOCAL = 'url = redis://127.0.0.1:6379';
const TLS = 'url = rediss://redis.example.com:6380/2';
const SENTINELS = 'url = rediss://a.example.com:26379, rediss://b.example.com:26379\nsentinel = mymaster';

/** What is found in `[store]` with these lines, `\n` between them. */
const storeOf = (...lines: string[]) => withCredential(`[store]\n${lines.join('\n')}\n`);

t.test('what is missing, too much, or does not go together is told with what to do', async (t) => {
  const rows: [lines: string[], found: RegExp[], warned?: RegExp[]][] = [
    [
      ['type = redis'],
      [/store\.url: is missing: where is the server/, /store\.encryption_key: is missing.*openssl rand/],
    ],
    [['type = redis', KEY], [/store\.url: is missing/]],
    [['type = redis', LOCAL], [/store\.encryption_key: is missing/]],
    [['type = redis', LOCAL, KEY], []],
    [['type = redis', TLS, KEY], []],
    [['type = redis', SENTINELS, KEY], []],
    [['type = redis', 'url = unix:/run/redis.sock', KEY], []],
    [['type = redis', 'url = redis://redis:6379', KEY], [], [/store\.url: is without TLS/]],
    [[LOCAL], [/store\.url: needs type = redis/]],
    [['sentinel = m'], [/store\.sentinel: needs type = redis/]],
    [['password = canary'], [/store\.password: needs type = redis/]],
    [['type = memory', LOCAL], [], [/store\.url: has no effect with type = memory/]],
    [['type = file', 'username = a'], [], [/store\.username: has no effect with type = file/]],
    [['type = redis', 'url = redis://user:canary@127.0.0.1', KEY], [/user name or a password.*store\.password_file/]],
    [['type = redis', 'url = redis://:can/ary@127.0.0.1', KEY], [/user name or a password/]],
    [['type = redis', 'url = unix://:canary@/run/x', KEY], [/user name or a password/]],
    [['type = redis', 'url = localhost:6379', KEY], [/is not redis:\/\/HOST:PORT/]],
    [['type = redis', 'url = http://localhost:6379', KEY], [/is not redis:\/\/HOST:PORT/]],
    [['type = redis', 'url = redis://', KEY], [/store\.url/]],
    [['type = redis', 'url = redis://127.0.0.1/x', KEY], [/more than a host, a port and the number/]],
    [['type = redis', 'url = redis://127.0.0.1?db=1', KEY], [/more than a host, a port and the number/]],
    [['type = redis', 'url = redis://127.0.0.1:0', KEY], [/port 0/]],
    [['type = redis', 'url = redis://127.0.0.1:70000', KEY], [/is not redis:\/\/HOST:PORT/]],
    [['type = redis', 'url = redis://127.0.0.1, redis://localhost', KEY], [/several servers: with Sentinels/]],
    [['type = redis', 'url = redis://127.0.0.1,,redis://localhost', 'sentinel = m', KEY], [/empty item/]],
    [['type = redis', 'url = unix:/run/x', 'sentinel = m', KEY], [/names a socket/]],
    [['type = redis', 'url = redis://127.0.0.1, rediss://localhost', 'sentinel = m', KEY], [/all must have TLS/]],
    [['type = redis', 'url = redis://127.0.0.1/1, redis://localhost/2', 'sentinel = m', KEY], [/several databases/]],
    [['type = redis', LOCAL, KEY, 'sentinel_password = canary'], [/sentinel_password: is for Sentinels/]],
    [
      ['type = redis', LOCAL, KEY, 'sentinel_username = a', 'sentinel_password = b'],
      [/is for Se/, /is for Se/],
    ],
    [['type = redis', LOCAL, KEY, 'sentinel = my master'], [/not a name that a Sentinel can know/]],
    [['type = redis', SENTINELS, KEY, 'sentinel_username = a'], [/sentinel_username: has no password/]],
    [['type = redis', LOCAL, KEY, 'username = a'], [/store\.username: has no password: set password_file/]],
    [['type = redis', LOCAL, KEY, 'username = a', 'password = canary'], []],
    [
      ['type = redis', LOCAL, 'encryption_key_previous = canary'],
      [/is missing/, /set encryption_key to the one now/],
    ],
    [['type = file', 'encryption_key_previous = canary'], [/set encryption_key to the one now/]],
    [['type = file', KEY, 'encryption_key_previous = canary'], []],
    [['type = rediss', LOCAL, KEY], [/store\.type/]],
  ];
  for (const [lines, found, warned = []] of rows) {
    const result = storeOf(...lines);
    const what = lines.join(' | ');
    const told = problems(result);
    t.equal(told.length, found.length, `${what}: ${told.join(' | ')}`);
    for (const pattern of found) t.match(told.join('\n'), pattern, what);
    for (const pattern of warned) t.match(warnings(result).join('\n'), pattern, what);
    if (warned.length === 0) t.notMatch(warnings(result).join('\n'), /store\./, what);
    t.notMatch(told.concat(warnings(result)).join(), /canary/, what);
  }
});

t.test('files of TLS are looked at, and belong to a URL with TLS', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const [own, other] = [ca.issue(['gateway']), ca.issue(['other'])];
  const folder = t.testdir();
  mkdirSync(join(folder, 'x'));
  writeFileSync(join(folder, 'empty.pem'), '');
  const rows: [lines: string[], found: RegExp[]][] = [
    [[TLS, `ca_file = ${ca.caFile}`], []],
    [[TLS, `ca_file = ${ca.caFile}`, `cert_file = ${own.certFile}`, `key_file = ${own.keyFile}`], []],
    [[LOCAL, `ca_file = ${ca.caFile}`], [/ca_file: is for TLS.*write rediss/]],
    [['url = unix:/run/x', `ca_file = ${ca.caFile}`], [/ca_file: is for TLS/]],
    [[TLS, `cert_file = ${own.certFile}`], [/key_file: is missing beside cert_file/]],
    [[TLS, `key_file = ${own.keyFile}`], [/cert_file: is missing beside key_file/]],
    [[TLS, `cert_file = ${own.certFile}`, `key_file = ${other.keyFile}`], [/does not fit/]],
    [[TLS, `ca_file = ${folder}/empty.pem`], [/holds no certificate/]],
    [[TLS, `ca_file = ${folder}/absent.pem`], [/ca_file/]],
  ];
  for (const [lines, found] of rows) {
    const told = problems(storeOf('type = redis', KEY, ...lines));
    t.equal(told.length, found.length, told.join(' | '));
    for (const pattern of found) t.match(told.join('\n'), pattern);
  }
});

t.test('what is good is read', async (t) => {
  t.match(good(storeOf('type = redis', TLS, KEY, 'username = gcg', 'password = p', 'prefix = crm')).store, {
    type: 'redis',
    path: '',
    prefix: 'crm',
    place: { addresses: [{ kind: 'tcp', host: 'redis.example.com', port: 6380, isTls: true }], database: 2 },
    sentinel: null,
    username: 'gcg',
  });
  t.match(good(storeOf('type = redis', SENTINELS, KEY, 'path = spool')).store, {
    path: '/srv/app/spool',
    place: { addresses: [{ host: 'a.example.com', port: 26379 }, { host: 'b.example.com' }], database: 0 },
    sentinel: 'mymaster',
  });
  const urls: [text: string, address: string, database: number][] = [
    ['redis://127.0.0.1', '127.0.0.1:6379', 0],
    ['REDIS://Redis:1/15', 'Redis:1', 15],
    ['redis://[::1]:7/', '[::1]:7', 0],
    ['unix:/run/a b@c.sock', '/run/a b@c.sock', 0],
    ['unix:///run/x', '/run/x', 0],
  ];
  for (const [text, address, database] of urls) {
    const parsed = parseRedisUrl(text);
    if (!parsed.ok) return t.fail(parsed.message);
    t.strictSame(parsed.value.addresses.map(formatRedisAddress), [address], text);
    t.equal(parsed.value.database, database, text);
  }
});

t.test('every change of it needs a restart, and a reload says so', async (t) => {
  const keys = store.rows.map(({ key }) => `store.${key}`);
  t.strictSame(restartKeys(keys), keys);
  t.strictSame(restartKeys(['store.password_file', 'store.encryption_key_env']), [
    'store.password_file',
    'store.encryption_key_env',
  ]);
});

t.test('no text makes it throw, and none with an @ is repeated', async () => {
  const part = fc.oneof(
    fc.constantFrom('redis://', 'rediss://', 'unix:', '//', ':', '@', ',', '/', '[', ']'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      const text = parts.join('');
      const parsed = parseRedisUrl(text);
      const isQuoted = !parsed.ok && text.includes('@') && text.length > 8 && parsed.message.includes(text);
      return !isQuoted && (!parsed.ok || parsed.value.addresses.length > 0);
    }),
  );
});
