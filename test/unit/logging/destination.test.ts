// Log destinations when things go wrong: full disks, closed and stalled pipes, rotated files. Traffic must never
// notice.

import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  BufferedDestination,
  createConsoleDestination,
  FileDestination,
  type Sink,
} from '../../../src/logging/destination.ts';
import { createLogger, type LoggingConfig } from '../../../src/logging/logger.ts';

const CONFIG: LoggingConfig = {
  level: 'info',
  format: 'json',
  toConsole: false,
  filePath: null,
  requestBody: false,
  responseBody: false,
  bodyMaxBytes: 1024,
};

type Done = Parameters<Sink['write']>[1];

/** A sink whose writes end when the test says so. */
function manualSink() {
  const writes: { text: string; done: Done }[] = [];
  let isClosed = false;
  const sink: Sink = {
    write: (batch, done) => void writes.push({ text: String(batch), done }),
    writeSync() {},
    close() {
      isClosed = true;
    },
  };
  return { sink, writes, isClosed: () => isClosed };
}

const fault = (code: string) => Object.assign(new Error(code), { code });

t.test('lines are gathered into one write at a time, in order', async (t) => {
  const { sink, writes } = manualSink();
  const destination = new BufferedDestination(sink);
  destination.write('a\n');
  destination.write('b\n');
  t.equal(writes.length, 0, 'nothing is written before the moment is over');
  const flushed = destination.flush();
  destination.write('c\n');
  t.strictSame(
    writes.map((one) => one.text),
    ['a\nb\n'],
  );
  writes[0]?.done(null);
  t.strictSame(
    writes.map((one) => one.text),
    ['a\nb\n', 'c\n'],
  );
  writes[1]?.done(null);
  await flushed;
  t.equal(destination.dropped(), 0);
});

t.test('a person at a terminal sees each line at once', async (t) => {
  const { sink, writes } = manualSink();
  new BufferedDestination(sink, { isImmediate: true }).write('a\n');
  t.equal(writes[0]?.text, 'a\n');
});

t.test('while the sink stalls lines are kept up to the limit, then dropped and counted', async (t) => {
  const { sink, writes } = manualSink();
  const destination = new BufferedDestination(sink, { isImmediate: true, maxPendingLength: 40 });
  for (let n = 0; n < 10; n++) destination.write(`line ${n}...\n`);
  t.equal(destination.dropped(), 5, 'one in flight, four kept');
  writes[0]?.done(null);
  const flushed = destination.flush();
  writes[1]?.done(null);
  await flushed;
  destination.write('after\n');
  t.equal(writes[2]?.text, 'after\n', 'it goes on afterwards');
});

t.test('a full disk keeps the rest of the batch for later and a flush does not wait for it', async (t) => {
  const { sink, writes } = manualSink();
  const destination = new BufferedDestination(sink, { isImmediate: true });
  destination.write('abc\n');
  const flushed = destination.flush();
  writes[0]?.done(fault('ENOSPC'), Buffer.from('c\n'));
  await flushed;
  void destination.flush();
  t.equal(writes[1]?.text, 'c\n');
  writes[1]?.done(null);
  t.equal(destination.dropped(), 0);
});

t.test('after a closed pipe every line is counted as dropped', async (t) => {
  const { sink, writes, isClosed } = manualSink();
  const destination = new BufferedDestination(sink, { isImmediate: true });
  destination.write('a\n');
  destination.write('b\n');
  writes[0]?.done(fault('EPIPE'));
  destination.write('c\n');
  t.equal(destination.dropped(), 3);
  await destination.close();
  t.equal(destination.dropped(), 3);
  t.equal(writes.length, 1);
  t.ok(isClosed(), 'the descriptor is released all the same');
});

t.test(
  'a descriptor that is full is dropped to without harm',
  { skip: !existsSync('/dev/full') && 'no /dev/full here' },
  async (t) => {
    const destination = createConsoleDestination(openSync('/dev/full', 'w'), false);
    for (let n = 0; n < 100; n++) destination.write(`line ${n}\n`);
    await destination.flush();
    await destination.close();
    t.equal(destination.dropped(), 100);
  },
);

t.test('a descriptor that is closed is dropped to without harm', async (t) => {
  const destination = createConsoleDestination(987, false);
  destination.write('a\n');
  await destination.flush();
  destination.write('b\n');
  t.equal(destination.dropped(), 2);
  await destination.close();
});

t.test(
  'a file is made with its parents for the owner only, appended to, and written anew after a rotation',
  async (t) => {
    const path = join(t.testdir(), 'deep', 'er', 'gcg.log');
    const log = createLogger({ ...CONFIG, filePath: path });
    log.info({}, 'first');
    await log.flush();
    t.equal(statSync(path).mode & 0o777, 0o600);
    t.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
    renameSync(path, `${path}.1`);
    log.info({}, 'second');
    log.reopen();
    log.info({}, 'third');
    await log.close();
    t.match(readFileSync(`${path}.1`, 'utf8'), /first[\s\S]*second/);
    t.match(readFileSync(path, 'utf8'), /third/);
    t.notMatch(readFileSync(path, 'utf8'), /second/);
    const again = createLogger({ ...CONFIG, filePath: path });
    again.info({}, 'fourth');
    await again.close();
    t.match(readFileSync(path, 'utf8'), /third[\s\S]*fourth/);
    t.equal(log.dropped, 0);
  },
);

t.test('a rotation that fails leaves the old file in use', async (t) => {
  const path = join(t.testdir({ sub: {} }), 'sub', 'gcg.log');
  const destination = new FileDestination(path);
  rmSync(join(path, '..'), { recursive: true });
  writeFileSync(join(path, '..'), 'a file where the folder was');
  t.match(destination.reopen(), /EEXIST|ENOTDIR/);
  destination.write('still here\n');
  await destination.close();
  t.equal(destination.dropped(), 0);
});

t.test('a log file that cannot be opened at the start is an error that says why', async (t) => {
  const folder = t.testdir({ file: 'x' });
  t.throws(() => createLogger({ ...CONFIG, filePath: join(folder, 'file', 'gcg.log') }), { code: /EEXIST|ENOTDIR/ });
});

t.test(
  'a pipe as the log file: refused without a reader, dropped to while it has none, and written to again when it has',
  async (t) => {
    const path = join(t.testdir(), 'pipe');
    execFileSync('mkfifo', [path]);
    t.throws(() => new FileDestination(path), { code: 'ENXIO' });
    const reader = () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const readable = (fd: number) => {
      const bytes = Buffer.alloc(1000);
      return bytes.toString('utf8', 0, readSync(fd, bytes));
    };
    let now = 0;
    const first = reader();
    const destination = new FileDestination(path, () => now);
    destination.write('one\n');
    await destination.flush();
    t.equal(readable(first), 'one\n');
    closeSync(first);
    destination.write('two\n');
    await destination.flush();
    t.equal(destination.isLost, true);
    destination.write('three\n');
    const second = reader();
    destination.write('four\n');
    now += 1_000;
    destination.write('five\n');
    await destination.flush();
    t.equal(readable(second), 'five\n', 'a try a second');
    await destination.close();
    closeSync(second);
    t.equal(destination.dropped(), 3);
  },
);

const DISK = '/dev/loop0';

t.test(
  'a disk is no log file, at the start and at a reload',
  { skip: (!existsSync(DISK) || process.getuid?.() !== 0) && 'only root opens disks, and not everywhere' },
  async (t) => {
    const log = createLogger({ ...CONFIG, filePath: null });
    t.throws(() => log.configure({ ...CONFIG, filePath: DISK }), { code: /EFTYPE|ENXIO|EPERM/ });
    t.throws(() => createLogger({ ...CONFIG, filePath: DISK }), { code: /EFTYPE|ENXIO|EPERM/ });
  },
);

t.test('console and file both get every record', async (t) => {
  const path = join(t.testdir(), 'gcg.log');
  const stdoutPath = join(t.testdir(), 'stdout');
  const log = createLogger({ ...CONFIG, toConsole: true, filePath: path }, { stdout: openSync(stdoutPath, 'a') });
  log.info({ n: 1 }, 'both');
  await log.close();
  t.equal(readFileSync(path, 'utf8'), readFileSync(stdoutPath, 'utf8'));
  t.match(readFileSync(path, 'utf8'), /both/);
});

/** Runs a program that logs to its standard output, a pipe, which `treat` may mistreat. */
function run(
  program: string,
  treat: (child: ReturnType<typeof spawn>) => void,
): Promise<{ code: number | null; stderr: string }> {
  const logger = new URL('../../../src/logging/logger.ts', import.meta.url).href;
  const source = `import { createLogger } from ${JSON.stringify(logger)};
const log = createLogger(${JSON.stringify({ ...CONFIG, toConsole: true })});
${program}`;
  const child = spawn(
    process.execPath,
    ['--experimental-strip-types', '--input-type=module-typescript', '-e', source],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  treat(child);
  return new Promise((resolve) => child.on('exit', (code) => resolve({ code, stderr })));
}

t.test('a process whose standard output was closed goes on, counts, and exits as usual', async (t) => {
  const { code, stderr } = await run(
    `for (let n = 0; n < 50; n++) { log.info({ n }, 'line'); await log.flush(); }
     await log.close();
     process.stderr.write('dropped some: ' + (log.dropped > 0));`,
    (child) => child.stdout?.destroy(),
  );
  t.equal(code, 0);
  t.equal(stderr, 'dropped some: true');
});

t.test('a process whose standard output nobody reads goes on, drops, and still exits', async (t) => {
  const { code, stderr } = await run(
    `const filler = 'x'.repeat(60000);
     for (let n = 0; n < 200; n++) log.info({ filler }, 'line');
     const started = performance.now();
     await log.close();
     const isInTime = performance.now() - started < 30_000;
     process.stderr.write('dropped some: ' + (log.dropped > 0) + ', closed in time: ' + isInTime);
     process.exit(0);`,
    (child) => child.stdout?.pause(),
  );
  t.equal(code, 0);
  t.equal(stderr, 'dropped some: true, closed in time: true');
});

t.test('records gathered when a process exits without closing its log are still written', async (t) => {
  let stdout = '';
  const { code } = await run(`log.info({}, 'last words'); process.exit(3);`, (child) => {
    child.stdout?.on('data', (chunk) => {
      stdout += chunk;
    });
  });
  t.equal(code, 3);
  t.match(stdout, /last words/);
});

t.test(
  'a log file that was there is made 0600 when it is ours, at the start, at a reload and after a rotation, and it ' +
    'is said',
  async (t) => {
    const folder = t.testdir();
    for (const mode of [0o666, 0o644, 0o640, 0o604, 0o600]) {
      for (const moment of ['start', 'reload', 'rotation'] as const) {
        const filePath = join(folder, `${mode}-${moment}.log`);
        const put = () => {
          writeFileSync(filePath, 'before\n');
          chmodSync(filePath, mode);
        };
        if (moment !== 'rotation') put();
        const log = createLogger({ ...CONFIG, filePath: moment === 'reload' ? null : filePath });
        if (moment === 'reload') log.configure({ ...CONFIG, filePath });
        if (moment === 'rotation') {
          renameSync(filePath, `${filePath}.1`);
          put();
          log.reopen();
        }
        await log.close();
        const name = `${mode.toString(8)} at ${moment}`;
        t.equal(statSync(filePath).mode & 0o777, 0o600, name);
        t.equal(
          /"level":"info".*log file was open to other users/.test(readFileSync(filePath, 'utf8')),
          mode !== 0o600,
          name,
        );
        t.match(readFileSync(filePath, 'utf8'), /^before\n/);
      }
    }
  },
);

t.test(
  'a log file of another user keeps its mode, with a warning',
  { skip: process.getuid?.() !== 0 && 'only root can give a file away' },
  async (t) => {
    const filePath = join(t.testdir(), 'gcg.log');
    writeFileSync(filePath, '');
    chmodSync(filePath, 0o666);
    chownSync(filePath, 12345, 12345);
    const log = createLogger({ ...CONFIG, filePath });
    await log.close();
    t.equal(statSync(filePath).mode & 0o777, 0o666);
    t.match(readFileSync(filePath, 'utf8'), /"level":"warn".*"msg":"log file is open to other users"/);
  },
);
