// `gcg tail` and `gcg explain` against a stand-in: in a pipe, in a terminal, over lost connections, with hostile octets
// in every field.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { explain } from '../../src/cli/commands/explain.ts';
import { tail } from '../../src/cli/commands/tail.ts';
import { FeedParser } from '../../src/cli/feed.ts';
import type { Call, Why } from '../../src/inspector/wire.ts';
import { startCommand } from '../helpers/command.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { fakeCall, startFakeInspector } from '../helpers/fake-inspector.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { MAIN } from '../helpers/program.ts';

const LIMITED: Partial<Call> = {
  status: 429,
  errorCode: 'gateway.rate.limited',
  error: "the platform's limit of credential crm is used up for the moment: try again",
  heldBy: "the platform's limit of credential crm",
  source: 'gateway',
  attempts: 0,
};

t.test('in a pipe the last calls are lines of JSON, the oldest first', async (t) => {
  const fake = await startFakeInspector(t);
  fake.calls.push(fakeCall(1), fakeCall(2, LIMITED), fakeCall(3));
  const folder = createCommandFolder(t, null);
  const run = (...argv: string[]) => folder.run(tail, ['tail', '--listen', fake.address, ...argv]);
  const shown = await run('--no-follow');
  t.equal(shown.code, 0, shown.err);
  t.strictSame(
    shown.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    fake.calls,
  );
  t.equal((await run('--no-follow', '-n', '2')).out.split('\n').length, 3);
  t.equal((await run('--no-follow', '--lines=0')).out, '', 'none of those before');
  await run('--no-follow', '--failures', '--since', '5m', 'client:etl', 'OR', '-status:200');
  const asked = new URL(fake.seen.at(-1)?.split(' ')[1] ?? '', 'http://x').searchParams;
  t.equal(asked.get('f'), 'since:5m failed:yes (client:etl OR NOT status:200)');
  t.equal(asked.get('limit'), '1000', 'all since then');
});

t.test(
  'for people a call is a line, and below one that failed stands who, what to do, and where to read on',
  async (t) => {
    const fake = await startFakeInspector(t);
    fake.calls.push(fakeCall(1), fakeCall(2, LIMITED), fakeCall(3, { durationMs: 2_500, upstreamMs: 2_400 }));
    const folder = createCommandFolder(t, null);
    const argv = ['tail', '--no-follow', '--listen', fake.address];
    const plain = await folder.run(tail, argv, { isTTY: true, env: { NO_COLOR: '1' } });
    t.match(
      plain.out,
      /^[\d:.]+ 200 GET \/api\/v2\/users\/1 43 ms etl as crm\n[\d:.]+ 429 GET \/api\/v2\/users\/2 43 ms etl as crm\n {4}limit: Genesys Cloud's rate limit for credential crm is used up\n {4}Wait, and send it again\.\n {4}gcg explain 9f3c7a10-0000-4000-8000-000000000002\n[\d:.]+ 200 GET \/api\/v2\/users\/3 2\.5 s etl as crm \(slow: platform\)\n$/,
    );
    t.equal((await folder.run(tail, argv, { isTTY: true, env: { TERM: 'dumb' } })).out, plain.out);
    fake.calls.push(fakeCall(4, LIMITED), fakeCall(5, { status: 404 }), fakeCall(6, LIMITED));
    const many = (await folder.run(tail, argv, { isTTY: true, env: { NO_COLOR: '1' } })).out.slice(plain.out.length);
    t.match(
      many,
      /^[\d:.]+ 429 .*\n {4}limit, as above: gcg explain 9f3c7a10-0000-4000-8000-000000000004\n[\d:.]+ 404 .*\n {4}caller: /,
      'what fails in the same way as the one before is not told twice',
    );
    t.match(
      many,
      /\n[\d:.]+ 429 .*\n {4}limit: .*\n {4}Wait.*\n {4}gcg explain 9f3c7a10-0000-4000-8000-000000000006\n$/,
    );
    fake.calls.splice(3);
    const coloured = await folder.run(tail, argv, { isTTY: true });
    t.equal(coloured.out.replace(/\x1b\[\d+m/g, ''), plain.out);
    t.not(coloured.out, plain.out);
  },
);

t.test('what cannot be asked is told, with an exit code of its own', async (t) => {
  const fake = await startFakeInspector(t);
  const folder = createCommandFolder(t, null);
  const run = (...argv: string[]) => folder.run(tail, ['tail', ...argv, '--listen', fake.address]);
  t.match(await run('status:nine'), {
    code: 2,
    err: /like status:404.*\(column 8 of the filter\)\nTry gcg tail --help/s,
  });
  t.match(await run('--since', 'noon'), { code: 2, err: /since is asked for like since:5m/ });
  t.match(await run('-n', 'many'), { code: 2, err: /--lines is a number/ });
  fake.refusal = { status: 403, code: 'gateway.client.forbidden', message: 'only an admin \u001b]0;x\u0007may look' };
  t.match(await run(), { code: 77, err: /^gcg: only an admin {1,2}\]0;x may look\n$/ });
  fake.refusal = { status: 401, code: 'gateway.client.unauthenticated', message: 'who?' };
  t.match(await run(), { code: 77, err: /GCG_ADMIN_KEY/ });
  fake.refusal = { status: 404, code: 'gateway.route.not.found', message: 'inspector.enabled is false' };
  t.match(await run(), { code: 69, err: /inspector\.enabled is false/ });
  fake.refusal = null;
  fake.calls.push({ seq: 1, client: 7 } as unknown as Call);
  t.match(await run('--no-follow'), { code: 0 }, 'as JSON it is passed on');
  t.match(await folder.run(tail, ['tail', '--no-follow', '--listen', fake.address], { isTTY: true }), {
    code: 69,
    err: /no gateway of this version/,
  });
  await fake.down();
  t.match(await run(), { code: 69, err: /no gateway is running at 127\.0\.0\.1/ });
  t.match(await folder.run(explain, ['explain', 'last', '--listen', fake.address]), { code: 69, err: /no gateway/ });
});

t.test('it goes on over lost connections and restarts, tells what was missed, and ends with 0 on ^C', async (t) => {
  const fake = await startFakeInspector(t);
  fake.calls.push(fakeCall(1));
  const command = startCommand(t, ['tail', '--listen', fake.address]);
  await fake.watched();
  fake.add(fakeCall(2));
  await command.until('"seq":2');
  fake.cut();
  fake.calls.push(fakeCall(3));
  await command.until('connection was lost');
  await command.until('"seq":3');
  await fake.watched();
  await command.until('there again');
  fake.write('event: gap\ndata: {"missed":7,"resumeAt":9}\n\n');
  await command.until('7 calls were missed');
  fake.write(': ping\n\nevent: unknown\ndata: {}\n\n');
  fake.add(fakeCall(3, { path: '/twice' }));
  fake.add(fakeCall(4));
  await command.until('"seq":4');
  await fake.down();
  fake.calls.splice(0);
  fake.instance = 'two';
  fake.calls.push(fakeCall(1, { path: '/of/the/next' }));
  await command.until(/trying again[\s\S]*trying again/);
  await fake.up();
  await command.until('was started again');
  await command.until('/of/the/next');
  t.notMatch(command.stdout(), /twice/, 'no call is shown twice');
  t.equal(command.stdout().trim().split('\n').length, 5);
  command.child.kill('SIGINT');
  t.equal(await command.ended, 0);
});

t.test('it ends without a word when nobody reads it any more', async (t) => {
  const fake = await startFakeInspector(t);
  fake.calls.push(fakeCall(1), fakeCall(2));
  const command = startCommand(t, ['tail', '--listen', fake.address]);
  await command.until('"seq":2');
  await fake.watched();
  command.child.stdout?.destroy();
  const adding = setInterval(() => fake.add(fakeCall(fake.calls.length + 1)), 10);
  t.equal(await command.ended, 0);
  clearInterval(adding);
  t.equal(command.stderr(), '');
});

/** What must never reach a terminal from outside: each says by what it would show that it got through. */
const HOSTILE = [
  '\u001b]52;c;ZXZpbA==\u0007',
  '\u001b]8;;http://evil.example\u001b\\click\u001b]8;;\u001b\\',
  '\u001bP+q544e\u001b\\',
  '\u009b31mred\u009c',
  '\u001b]0;title\u0007',
  '\roverwritten',
  '\u0008\u0008\u0008gone',
  '\u001b[2J\u001b[1;1H',
  '\u202egnp.exe\u202c',
  '\u2066isolate\u2069\u061c\u200f',
  'two\u2028lines\u2029more\u0085next',
  '\u0000nul\u007fdel\ttab\nline\u000b\u000c',
  '\ufeff\u000e\u000f',
].join('');

/** A call with hostile octets in every text of it, whatever the text is for. */
function hostileCall(seq: number): Call {
  const call = fakeCall(seq, {
    ...LIMITED,
    correlationId: 'c',
    tokenFingerprint: 'f',
    peer: 'p',
    userAgent: 'u',
    rule: 'r',
    refused: 'x',
    claimedClient: 'c',
    sessionUser: 's',
    operation: 'o',
    explanation: 'e',
    retries: ['429'],
    traceId: 't',
    spanId: 's',
    replayOf: 'r',
    replayedBy: 'b',
    platform: { code: 'c', message: 'm' },
    trace: { rules: 1, waits: [], attempts: [{ at: 1, ms: 9, error: 'e' }], stalled: 0 },
  });
  return spoilt(call, []) as Call;
}

const KEPT = new Set(['time', 'level', 'source', 'errorCode', 'for', 'who']);

function spoilt(value: unknown, path: readonly string[]): unknown {
  if (typeof value === 'string') return KEPT.has(path.at(-1) ?? '') ? value : `${value}${HOSTILE}`;
  if (Array.isArray(value)) return value.map((one) => spoilt(one, path));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, spoilt(one, [...path, name])]));
}

const WHY: Why = { who: 'limit', title: 'title', text: 'text', todo: ['one', 'two'] };

/** Asserts that nothing drives the terminal but colours of ours. */
function isHarmless(t: Test, output: string, what: string): void {
  const own = output.replaceAll('\r\n', '\n').replace(/\x1b\[(?:0|1|2|31|32|33|36)m/g, '');
  const bad = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/.exec(own);
  t.equal(
    bad,
    null,
    `${what}: ${JSON.stringify(own.slice(Math.max(0, (bad?.index ?? 0) - 40), (bad?.index ?? 0) + 20))}`,
  );
  t.ok(output.length > 0, `${what} says something`);
}

t.test('hostile octets in every field come out harmless, in a pipe and in a terminal', async (t) => {
  const fake = await startFakeInspector(t);
  fake.calls.push(hostileCall(1), spoilt(fakeCall(2, { status: 403, platform: { message: 'm' } }), []) as Call);
  const why = spoilt(WHY, []) as Why;
  fake.answer = { call: hostileCall(1), why, replay: { possible: false, needsConfirmation: false, reason: null } };
  const folder = createCommandFolder(t, null);
  const kinds = [
    [tail, ['tail', '--no-follow'], false],
    [tail, ['tail', '--no-follow'], true],
    [explain, ['explain', '1'], false],
    [explain, ['explain', '1'], true],
    [explain, ['explain', '1', '--json'], false],
  ] as const;
  for (const [command, argv, isTTY] of kinds) {
    const { code, out, err } = await folder.run(command, [...argv, '--listen', fake.address], { isTTY });
    t.equal(code, 0, err);
    isHarmless(t, out, `${argv.join(' ')} ${isTTY}`);
    t.match(out, /52;c;ZXZpbA/, 'it is shown, and does nothing');
  }
  const lines = await folder.run(tail, ['tail', '--no-follow', '--listen', fake.address]);
  t.strictSame(
    lines.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    fake.calls,
    'JSON says the same',
  );

  if (spawnSync('script', ['--version']).status !== 0) return t.comment('skipped the terminal: there is no script(1)');
  for (const argv of [
    ['tail', '--no-follow'],
    ['explain', '1'],
    ['explain', '1', '--json'],
  ]) {
    const line = [process.execPath, MAIN, ...argv, '--listen', fake.address].map((word) => `'${word}'`).join(' ');
    const terminal = spawn('script', ['-qec', line, '/dev/null'], {
      env: { ...childEnvironment, HOME: '/nonexistent', PATH: process.env.PATH ?? '', TERM: 'xterm' },
      cwd: t.testdir(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const [code] = await once(terminal, 'close');
    t.equal(code, 0, output);
    isHarmless(t, output, `${argv.join(' ')} in a terminal`);
    if (argv.length < 3) t.match(output, /\x1b\[\d+m/, 'in colour');
  }
});

t.test('a call is explained: who, what happened, what to do, where the time went', async (t) => {
  const fake = await startFakeInspector(t);
  const folder = createCommandFolder(t, null);
  const run = (...argv: string[]) => folder.run(explain, ['explain', ...argv, '--listen', fake.address]);
  t.match(await run('last'), { code: 1, err: /no call was made yet/ });
  t.match(await run('7'), { code: 1, err: /no such call/ });
  const call = fakeCall(2, {
    ...LIMITED,
    durationMs: 400,
    trace: {
      rules: 1,
      waits: [{ for: 'queue', at: 1, ms: 199 }],
      attempts: [
        { at: 200, ms: 100, pool: 0, dial: { dns: 1, tcp: 9, tls: 40 }, send: 1, wait: 49, status: 503 },
        { at: 320, ms: 80, idle: 20, send: 0, wait: 70, body: 10, status: 429 },
      ],
      stalled: 0,
    },
    attempts: 2,
  });
  fake.calls.push(call);
  fake.answer = { call, why: WHY, replay: { possible: false, needsConfirmation: false, reason: null } };
  const { code, out } = await run('last');
  t.equal(code, 0);
  t.match(fake.seen.slice(-2), [/f=failed%3Ayes/, 'GET /-/calls/2']);
  t.match(out, /^429 GET \/api\/v2\/users\/2\n[\s\S]*request\s+9f3c7a10/);
  t.match(
    out,
    /\nTitle\n {2}text\n\nFailed by a rate limit\. What to do\n {2}- one\n {2}- two\n\nWhere 400 ms went, in 2 attempts\n/,
  );
  t.match(out, /\+1 ms +199 ms \|=+ +\| waiting for the platform's limit of credential crm\n/);
  t.match(out, /\| attempt 1: the TLS handshake\n[\s\S]*\| attempt 2: Genesys Cloud, until it answered\n/);
  const bars = out.split('\n').flatMap((line) => /\|(.{20})\|/.exec(line)?.[1] ?? []);
  t.ok(bars.length >= 7 && bars.every((bar) => bar.includes('=')), out);
  t.ok(
    out.split('\n').every((line) => line.length <= 100),
    out,
  );
  t.strictSame(JSON.parse((await run('2', '--json')).out).why, WHY);
  // Of one that nobody watched the pauses between its attempts are not the gateway's own time.
  fake.answer = { ...fake.answer, call: fakeCall(2, { attempts: 4, durationMs: 5000, upstreamMs: 7 }) };
  t.match(
    (await run('2')).out,
    /Where 5 s went, in 4 attempts\n.*\n.*\| waiting before another try, and the gateway\n/,
  );
  fake.answer = { ...fake.answer, call: fakeCall(1), why: null };
  t.match((await run('1')).out, /It went well, and was not slow\.[\s\S]*Where 43 ms went\n.*Genesys Cloud\n/);
});

t.test('a reader that is slow gets all of it', async (t) => {
  const fake = await startFakeInspector(t);
  for (let seq = 1; seq <= 500; seq++) fake.calls.push(fakeCall(seq));
  // A shell reads octet for octet.
  const child = spawn(
    'sh',
    ['-c', '"$0" "$@" | while read -r line; do echo; done', process.execPath, MAIN, 'tail'].concat([
      '--no-follow',
      '-n',
      '500',
      '--listen',
      fake.address,
    ]),
    { cwd: t.testdir(), env: { ...childEnvironment, HOME: '/nonexistent' }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let lines = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    lines += chunk.length;
  });
  await once(child, 'close');
  t.equal(lines, 500);
});

t.test('events are read alike, however the stream is cut', async (t) => {
  const text =
    ': ping\n\nid: a-1\nevent: calls\ndata: {"a":\ndata: 1}\n\nevent: none\n\ndata:x\r\n\r\nretry: 5\ndata: é\n\n';
  const expected = [
    { event: 'calls', data: '{"a":\n1}', id: 'a-1' },
    { event: 'message', data: 'x', id: 'a-1' },
    { event: 'message', data: 'é', id: 'a-1' },
  ];
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
      const parser = new FeedParser();
      const at = [0, ...cuts.sort((a, b) => a - b), text.length];
      const events = at.slice(1).flatMap((end, index) => [...parser.push(text.slice(at[index], end))]);
      return JSON.stringify(events) === JSON.stringify(expected);
    }),
  );
  t.throws(() => {
    const parser = new FeedParser();
    for (;;) [...parser.push(`data: ${'x'.repeat(1024 * 1024)}\n`)];
  }, /too long/);
});
