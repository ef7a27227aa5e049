// Calls as commands and code: what is pasted sends what was sent, octet for octet, runs nothing else and reads no file,
// whatever callers put into a path, a header or a body.

import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import platformClient from 'purecloud-platform-client-v2';
import t, { type Test } from 'tap';
import { type CopiedCall, copyAs, SHELL_FORMS } from '../../../src/inspector/copy-as.ts';
import { copyAsSdk, SDK_FORMS } from '../../../src/inspector/copy-sdk.ts';
import { operationTable } from '../../../src/operations/table.ts';

const CURL = spawnSync('sh', ['-c', 'command -v curl'], { encoding: 'utf8' }).stdout.trim();

/** Pieces that shells, curl, HTTPie and terminals read in ways of their own. */
const HOSTILE = [
  ...[
    "'",
    '"',
    '`',
    '\\',
    '$',
    '!',
    ';',
    '&',
    '|',
    '<',
    '>',
    '(',
    ')',
    '{',
    '}',
    '[',
    ']',
    '*',
    '?',
    '~',
    '%',
    '^',
    '@',
    '=',
  ],
  ...[
    '$(>pwned)',
    '`>pwned`',
    "';>pwned;'",
    '";>pwned;"',
    '\\";>pwned;\\"',
    '\x24{IFS}>pwned',
    '&&>pwned',
    '|>pwned',
    '%0a>pwned',
  ],
  ...[
    '-o',
    '--config',
    '@/etc/passwd',
    '@-',
    ':@/etc/passwd',
    ':=',
    '%{url}',
    '{a,b}',
    '[1-9]',
    '../..',
    '//',
    "'\\''",
    "$'\\x41'",
  ],
  ...['%s%n', '\\101', '\\c', '%b', '\x24{GCG_KEY}', '$GCG_KEY', '\u2019', '\u201d'],
];
const piece = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ maxLength: 6 }));
const text = fc.array(piece, { maxLength: 8 }).map((parts) => parts.join(''));
/** As Node hands out octets of a request: latin1, without what ends a line. */
const octets = fc
  .array(fc.oneof(piece, fc.constantFrom('\xe9', '\xff', '\x80', '\xc3\xa9')), { maxLength: 8 })
  .map((parts) => parts.join('').replaceAll(/[^\x21-\xff]|[\x7f#]/g, ''));
const headerName = fc.constantFrom(
  'X-Custom',
  'Accept',
  'User-Agent',
  'X-$(a)'.replaceAll(/[$()]/g, ''),
  "x'`|^~!",
  'Content-Type',
);
const headerValue = octets.map((value) => value.trim());
const body = fc.oneof(
  fc.constant(null),
  text.map((value) => value.replaceAll('\0', '')),
  fc.constantFrom(
    '@/etc/passwd',
    '\n',
    '\r\n\r\n',
    'a\n\n',
    '\x1b[201~;>pwned\n',
    '\u202e',
    '\x7f\x9b',
    '{"a":"é\\u00e9"}',
    '\\n',
  ),
);
const call: fc.Arbitrary<CopiedCall> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'DELETE', 'PATCH', 'PUT', 'HEAD', 'OPTIONS', "M'$|`!"),
  path: octets.map((rest) => `/api/v2/${rest}`),
  headers: fc.uniqueArray(fc.tuple(headerName, headerValue), { maxLength: 3, selector: ([name]) => name }),
  body,
  isBodyMissing: fc.constant(false),
});

interface Seen {
  readonly line: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Takes requests as octets, one a connection, and answers each with nothing. */
async function startStub(t: Test): Promise<{ base: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((socket: Socket) => {
    let got = '';
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      got += chunk;
      const end = got.indexOf('\r\n\r\n');
      if (end < 0) return;
      const [line = '', ...lines] = got.slice(0, end).split('\r\n');
      const headers = new Map(
        lines.map((one) => {
          const colon = one.indexOf(':');
          return [one.slice(0, colon).toLowerCase(), one.slice(colon + 1).trim()] as const;
        }),
      );
      const length = Number(headers.get('content-length') ?? 0);
      if (got.length < end + 4 + length) return;
      seen.push({ line, headers, body: got.slice(end + 4) });
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { base: `http://127.0.0.1:${(server.address() as { port: number }).port}`, seen };
}

/** A folder in which nothing can be run but the given program, and what is made there shows. */
function emptyFolder(t: Test, programs: Record<string, string>): { folder: string; env: NodeJS.ProcessEnv } {
  const folder = t.testdir();
  mkdirSync(join(folder, 'bin'));
  mkdirSync(join(folder, 'work'));
  for (const [name, path] of Object.entries(programs)) symlinkSync(path, join(folder, 'bin', name));
  return { folder, env: { PATH: join(folder, 'bin'), HOME: folder, GCG_KEY: "the'key $(>pwned)" } };
}

/** Runs a script in one sh, beside this process, which answers it. */
function runScript(script: string, cwd: string, env: NodeJS.ProcessEnv): Promise<{ code: number; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile('/bin/sh', ['-c', script], { cwd, env, timeout: 60_000 }, (_error, _stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stderr }),
    );
    child.stdin?.end();
  });
}

const utf8 = (value: string) => Buffer.from(value).toString('latin1');

t.test('curl, pasted into sh: the octets that were sent, nothing else is run, no file is read', async (t) => {
  if (CURL === '') {
    t.comment('no curl here');
    return;
  }
  const { base, seen } = await startStub(t);
  const calls = [
    ...fc.sample(call, 60),
    ...HOSTILE.map((one): CopiedCall => {
      const path = `/api/v2/${one.replaceAll(/[^!-~]|#/g, '')}`;
      return {
        method: 'POST',
        path,
        headers: [['X-Custom', one.replaceAll(/[^!-~]/g, '')]],
        body: one,
        isBodyMissing: false,
      };
    }),
  ];
  const script = calls.map((one) => copyAs('curl', one, { base, needsKey: true })).join('\n');
  t.notMatch(script, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028]/, 'nothing in it drives a terminal');
  const { folder, env } = emptyFolder(t, { curl: CURL });
  const quiet = script.replaceAll('curl --glob', 'curl --silent --glob');
  const ran = await runScript(quiet, join(folder, 'work'), env);
  t.equal(ran.stderr, '');
  t.equal(ran.code, 0);
  t.equal(seen.length, calls.length);
  for (const [at, { method, path, headers, body }] of calls.entries()) {
    const one = seen[at] as Seen;
    const name = JSON.stringify(calls[at]);
    t.equal(one.line, `${method} ${path} HTTP/1.1`, name);
    for (const [header, value] of headers) t.equal(one.headers.get(header.toLowerCase()) ?? '', value, name);
    t.equal(one.headers.get('x-gateway-key'), env.GCG_KEY);
    if (method !== 'HEAD') t.equal(one.body, utf8(body ?? ''), name);
    if (body !== null && method !== 'HEAD' && !headers.some(([header]) => header === 'Content-Type'))
      t.notOk(one.headers.get('content-type'), 'no type that nobody sent');
  }
  t.strictSame(readdirSync(join(folder, 'work')), []);
});

t.test('HTTPie, pasted into sh: one word for each part, and none that reads a file', async (t) => {
  const { folder, env } = emptyFolder(t, {});
  const out = join(folder, 'out');
  writeFileSync(
    join(folder, 'bin', 'http'),
    `#!/bin/sh\nfor a; do printf '%s\\0' "$a"; done >>'${out}'\nprintf 'THE END\\0' >>'${out}'\n`,
  );
  chmodSync(join(folder, 'bin', 'http'), 0o755);
  const calls = fc.sample(call, 60);
  const script = calls
    .map((one) => copyAs('httpie', one, { base: 'http://localhost:8080', needsKey: false }))
    .join('\n');
  const ran = await runScript(script, join(folder, 'work'), env);
  t.equal(ran.stderr, '');
  const lines = readFileSync(out, 'latin1').split('THE END\0').slice(0, -1);
  t.equal(lines.length, calls.length);
  for (const [at, { method, path, headers, body }] of calls.entries()) {
    const words = (lines[at] as string).split('\0').slice(0, -1);
    const raw = body === null || method === 'HEAD' ? [] : ['--raw', utf8(body)];
    t.strictSame(words.slice(0, 4 + raw.length), [
      '--ignore-stdin',
      '--path-as-is',
      ...raw,
      method,
      `http://localhost:8080${path}`,
    ]);
    for (const item of words.slice(4 + raw.length)) {
      t.notMatch(item, /^[^:;]*:(?:@|=)/, 'no file, no JSON');
      const [name = '', value = ''] = item.split(/[:;](.*)/s);
      const sent = headers.find(([header]) => header === name)?.[1];
      t.equal(value.replace(/^\\([:;=@])/, '$1'), sent, item);
    }
  }
  t.strictSame(readdirSync(join(folder, 'work')), []);
});

/** What PowerShell reads in one of our expressions, and where it ends. */
function powerShellValue(source: string): { value: string; rest: string } {
  let value = '';
  let at = source.startsWith('(') ? 1 : 0;
  const isGroup = at === 1;
  for (;;) {
    if (source[at] === "'") {
      const quoted = /^'((?:[^'\u2018\u2019\u201a\u201b]|(['\u2018\u2019\u201a\u201b])\2)*)'/u.exec(source.slice(at));
      if (quoted === null) throw new Error(`not a string: ${source.slice(at)}`);
      value += (quoted[1] as string).replaceAll(/(['\u2018\u2019\u201a\u201b])\1/g, '$1');
      at += quoted[0].length;
    } else {
      const code = /^\[char\]::ConvertFromUtf32\((\d+)\)/.exec(source.slice(at));
      if (code === null) throw new Error(`not an expression: ${source.slice(at)}`);
      value += String.fromCodePoint(Number(code[1]));
      at += code[0].length;
    }
    if (!isGroup || source[at] === ')') return { value, rest: source.slice(isGroup ? at + 1 : at) };
    if (!source.startsWith(' + ', at)) throw new Error(`not a sum: ${source.slice(at)}`);
    at += 3;
  }
}

t.test('PowerShell: strings that only PowerShell’s own quotes end, octets for a body', (t) => {
  fc.assert(
    fc.property(call, (one) => {
      const copied = copyAs('powershell', one, { base: 'http://localhost:8080', needsKey: true });
      if (/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/.test(copied)) return false;
      const uri = powerShellValue(copied.slice(copied.indexOf('-Uri ') + 5));
      if (uri.value !== `http://localhost:8080${one.path}`) return false;
      let { rest } = uri;
      if (!rest.startsWith(" `\n  -Headers @{ 'X-Gateway-Key' = $env:GCG_KEY")) return false;
      rest = rest.slice(rest.indexOf('GCG_KEY') + 7);
      for (const [name, value] of one.headers.filter(([header]) => header !== 'Content-Type')) {
        const key = powerShellValue(rest.slice(2));
        const read = powerShellValue(key.rest.slice(3));
        if (key.value !== name || read.value !== value) return false;
        rest = read.rest;
      }
      if (one.body === null || one.method === 'HEAD') return true;
      const sent = powerShellValue(rest.slice(rest.indexOf('GetBytes(') + 9));
      return sent.value === one.body && sent.rest === '))\n';
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('fetch: a program that asks for what was asked for', async () => {
  await fc.assert(
    fc.asyncProperty(call, async (one) => {
      const copied = copyAs('fetch', one, { base: 'http://localhost:8080', needsKey: true });
      if (/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]/.test(copied)) return false;
      const asked: [string, RequestInit][] = [];
      const fake = async (url: string, init: RequestInit) => {
        asked.push([url, init]);
        return { status: 200, text: async () => '' };
      };
      const run = new Function('fetch', 'process', 'console', `return (async () => {${copied}})()`);
      await run(fake, { env: { GCG_KEY: 'key' } }, { log() {} });
      const [[url, init] = ['', {} as RequestInit]] = asked;
      const headers = (init.headers ?? []) as [string, string][];
      return (
        url === `http://localhost:8080${one.path}` &&
        init.method === one.method &&
        (init.body ?? null) === (one.method === 'GET' || one.method === 'HEAD' ? null : one.body) &&
        JSON.stringify(headers) === JSON.stringify([['X-Gateway-Key', 'key'], ...one.headers])
      );
    }),
    { numRuns: 200 },
  );
});

t.test('no secret is in a copy, no Authorization, and what is missing is said', (t) => {
  const one: CopiedCall = {
    method: 'POST',
    path: '/api/v2/x?access_token=[redacted~BCDFGHJKLM]',
    headers: [
      ['Authorization', '[redacted~BCDFGHJKLM]'],
      ['authorization', 'Bearer plain'],
      ['X-Gateway-Key', 'plain'],
      ['Cookie', 'plain'],
      ['X-Api-Key', '[redacted]'],
      ['Connection', 'close, x-HOP'],
      ['X-Hop', 'elsewhere'],
      ['Host', 'elsewhere'],
      ['Content-Length', '4711'],
      ['X-Kept', 'kept'],
    ],
    body: null,
    isBodyMissing: true,
  };
  for (const [form] of SHELL_FORMS) {
    const copied = copyAs(form, one, { base: 'http://localhost:8080', needsKey: true });
    t.notMatch(copied, /plain|authorization|elsewhere|4711|api-key/i, form);
    t.match(copied, /kept/);
    t.match(copied, /GCG_KEY/);
    t.match(copied, /^(?:#|\/\/) A secret was masked in the path.*\n(?:#|\/\/) The body is not known/);
    t.notMatch(
      copyAs(form, { ...one, path: '/api/v2/x' }, { base: 'http://localhost:8080', needsKey: false }),
      /KEY|masked/,
    );
  }
  t.end();
});

t.test('whatever stands in the place of a path, the key goes to this gateway alone', (t) => {
  const base = 'https://gw.example.co';
  const operation = { id: 'getUsers', tag: 'Users', path: '/api/v2/users' };
  for (const path of [
    'm://x/api/v2/users',
    'http://evil.example/api/v2/users',
    'm:/api/v2/users',
    '*',
    '.uk',
    '@evil',
  ]) {
    const one: CopiedCall = { method: 'GET', path, headers: [], body: null, isBodyMissing: false };
    for (const [form] of SHELL_FORMS)
      t.match(copyAs(form, one, { base, needsKey: true }), /https:\/\/gw\.example\.co\/[^/]/, `${form}: ${path}`);
    for (const [form] of SDK_FORMS) {
      const copied = copyAsSdk(form, one, { base, needsKey: true }, operation);
      t.notMatch(copied ?? '', /gw\.example\.com|evil/, `${form}: ${path}`);
      t.equal(copied !== null, path.includes('/api'), `${form}: ${path}`);
    }
  }
  t.end();
});

t.test('operations of the table are methods of the JavaScript SDK, in the class of their first tag', (t) => {
  const client = platformClient as unknown as Record<string, { prototype: Record<string, unknown> } | undefined>;
  const missing = operationTable().operations.filter(
    ({ id, tags: [tag = ''] }) => typeof client[`${tag.replaceAll(/\W/g, '')}Api`]?.prototype[id] !== 'function',
  );
  t.ok(missing.length < 20, missing.map(({ id }) => id).join(', '));
  t.end();
});

t.test('code for the JavaScript SDK sends what was sent, by the SDK itself', async (t) => {
  const { base, seen } = await startStub(t);
  const rows: [method: string, path: string, body: string | null][] = [
    ['GET', '/api/v2/users/me', null],
    ['GET', '/api/v2/users/a%27b%22%24%7B1%7D', null],
    ['GET', '/api/v2/users?pageSize=25&id=a&id=b%2Cc', null],
    ['PATCH', '/api/v2/users/x', '{"name":"a\\"b\\u2028\x24{1}`"}'],
    ['POST', '/api/v2/alerting/alerts/query', '{"a":[1,2]}'],
    ['GET', '/crm/api/v2/users/me', null],
  ];
  for (const [method, path, body] of rows) {
    const operation = operationTable().find(method, path.slice(path.indexOf('/api')).split('?')[0] as string);
    const { id = '', tags: [tag = ''] = [], path: template = '' } = operation ?? {};
    const one = { method, path, headers: [], body, isBodyMissing: false };
    const copied = copyAsSdk('javascript', one, { base, needsKey: false }, { id, tag, path: template });
    // A login of its own is another test's.
    const code = (copied ?? '').replace(/^import .*\n/, '').replace(/^await client\.login.*\n/m, '');
    seen.length = 0;
    const run = new Function('platformClient', 'process', 'console', `return (async () => {${code}})()`);
    await run(platformClient, process, { log() {} }).catch(() => {});
    const [sent] = seen;
    const prefix = path.startsWith('/crm') ? '/crm/api' : '';
    t.equal(sent?.line.replaceAll("'", '%27'), `${method} ${prefix}${path.replace('/crm', '')} HTTP/1.1`, path);
    if (body !== null) t.strictSame(JSON.parse(Buffer.from(sent?.body ?? '', 'latin1').toString()), JSON.parse(body));
  }
});

t.test('code for Python: arguments by name, and by what the method calls where a name is none', (t) => {
  const operation = { id: 'getUsersSearch', tag: 'Users', path: '/api/v2/users/search' };
  const of = (query: string) => {
    const one = { method: 'GET', path: `/api/v2/users/search?${query}`, headers: [], body: null, isBodyMissing: false };
    return copyAsSdk('python', one, { base: 'http://localhost:8080', needsKey: false }, operation) ?? '';
  };
  t.match(of('q64=a&pageSize=25'), /UsersApi\(client\)\.get_users_search\(q64="a", page_size=25\)/);
  for (const name of ['from', 'a.b', 'x)+exit(', '1'])
    t.match(
      of(`${encodeURIComponent(name)}=x`),
      `call_api("/api/v2/users/search", "GET", {}, {"${name}": ["x"]}`,
      name,
    );
  t.end();
});

t.test('code for every SDK: texts of callers are strings, and never code', (t) => {
  const hostile = '";System.exit(1);//\n\u2028\x24{x}`\\u0022+exit()+\\u0022';
  const path = `/api/v2/users/${encodeURIComponent(hostile)}`;
  const operation = { id: 'getUser', tag: 'Users', path: '/api/v2/users/{userId}' };
  for (const [form] of SDK_FORMS) {
    const one = { method: 'GET', path, headers: [], body: null, isBodyMissing: false, client: 'crm' };
    const copied = copyAsSdk(form, one, { base: 'http://localhost:8080', needsKey: true }, operation) ?? '';
    const withoutStrings = copied.replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""');
    t.notMatch(withoutStrings, /exit|\u2028/, form);
    t.match(copied, /GCG_KEY/, form);
    t.match(copied, /[gG]et_?[uU]ser/, form);
    t.equal(copyAsSdk(form, { ...one, path: '/api/v2/users' }, { base: 'http://x', needsKey: false }, operation), null);
  }
  t.end();
});
