// The commands of docs/start.md and docs/sidecar.md answer what stands there: each block of a terminal is run, in the
// order of the page, by the program and a shell, in front of the simulation; what differs from run to run is left out.

import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Ask, init } from '../../src/cli/commands/init.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { type Command, startCommand } from '../helpers/command.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { MAIN } from '../helpers/program.ts';
import { type Block, blocksOf } from '../unit/docs/pages.ts';

/** A command of a block, and the lines that stand below it. */
interface Step {
  readonly line: string;
  readonly output: string;
}

function stepsOf({ text }: Block): Step[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const [line = '', ...output] = step.split('\n');
      return { line, output: output.join('\n') };
    });
}

/** The lines of an output without what differs: times, ids, durations, where the time went, widths of columns. */
function comparable(output: string): string[] {
  return output
    .replaceAll(/\x1b\[[\d;]*m/g, '')
    .split('\n')
    .filter((line) => !line.startsWith('Live page, once'))
    .map((line) =>
      line
        .replaceAll(/[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/g, 'ID')
        .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d:\d\d:\d\d\.\d{3}/g, 'TIME')
        .replaceAll(/\|[= ]+\|/g, 'BAR')
        .replaceAll(/pid \d+/g, 'pid PID')
        .replaceAll(/(?<![\w.:/])\d+(?: (?:h|min|m?s)\b)/g, 'N')
        .replaceAll(/(?:N )+left/g, 'N left')
        .replaceAll(/(gcg|version) \d+\.\d+\.\d+/g, '$1 VERSION')
        .replaceAll(/ {2,}/g, ' ')
        .replace(/(?<=^the platform's limit .* - - )\d+/, 'USED')
        .trimEnd(),
    )
    .filter((line) => line !== '' && !line.includes('BAR'));
}

class Session {
  readonly #t: Test;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #places: readonly (readonly [string, string])[];

  constructor(t: Test, { port, upstream, secret }: { port: number; upstream: number; secret: string }) {
    this.#t = t;
    this.#folder = t.testdir();
    mkdirSync(join(this.#folder, 'bin'));
    writeFileSync(join(this.#folder, 'bin/gcg'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, {
      mode: 0o755,
    });
    const [file] = blocksOf('docs/start.md').filter(({ language }) => language === 'ini');
    const text = (file?.text ?? '').replace('YOUR_CLIENT_SECRET', secret).replace(':8080', `:${port}`);
    writeFileSync(join(this.#folder, 'gcg.ini'), text, { mode: 0o600 });
    this.#env = {
      ...childEnvironment,
      PATH: `${this.#folder}/bin:${process.env.PATH}`,
      HOME: this.#folder,
      GCG_GATEWAY_HOST: '127.0.0.1',
      GCG_GATEWAY_PORT: String(upstream),
      GCG_GATEWAY_PROTOCOL: 'http',
    };
    this.#places = [
      [`127.0.0.1:${port}`, '127.0.0.1:8080'],
      [`http://127.0.0.1:${upstream}`, 'https://api.mypurecloud.de'],
      [this.#folder, '/home/you/gateway'],
    ];
  }

  /** What was printed, with places as they stand on the pages. */
  #asOnPage(text: string): string[] {
    return comparable(this.#places.reduce((all, [here, there]) => all.replaceAll(here, there), text));
  }

  serve(): Command {
    return startCommand(this.#t, ['--log-format', 'text'], { env: this.#env, cwd: this.#folder });
  }

  /** Asserts that each line of a page was printed by the gateway. */
  assertPrinted(command: Command, expected: string): void {
    // The upstream is named where it is not the region's own.
    const printed = this.#asOnPage(`${command.stdout()}${command.stderr()}`).map((line) =>
      line.replace(/^TIME +/, '').replace(' by https://api.mypurecloud.de', ''),
    );
    for (const line of comparable(expected)) {
      const wanted = line.replace(/^TIME /, '');
      this.#t.ok(printed.includes(wanted), wanted);
    }
  }

  /** Runs a step by a shell, and compares. */
  async assertStep({ line, output }: Step): Promise<void> {
    const here = this.#places.slice(0, 1).reduce((all, [port, there]) => all.replaceAll(there, port), line);
    const printed = await new Promise<string>((resolve) => {
      const options = { cwd: this.#folder, env: this.#env };
      execFile('sh', ['-c', `{ ${here.replace('curl ', 'curl -sS ')}\n} 2>&1`], options, (_error, stdout) =>
        resolve(stdout),
      );
    });
    this.#t.same(this.#asOnPage(printed), comparable(output), line);
  }
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

const terminal = (page: string) => blocksOf(page).filter(({ language }) => language === 'console');
/** The client id in the file of the page. */
const id = '7b2f3c1a-5e0d-4c2e-9b0e-3d5a2c1f0e9d';
const SECRET = 'the secret of the client of the pages';

t.test('the commands of the pages answer what stands there', async (t) => {
  const sandbox = createSandbox({ clients: [{ ...DEMO_CLIENTS.clientCredentials, id, secret: SECRET }] });
  const { port: upstream } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const session = async (secret: string) => new Session(t, { port: await freePort(), upstream, secret });

  const right = await session(SECRET);
  let gateway: Command | null = null;
  let count = 0;
  for (const block of [...terminal('docs/start.md'), ...terminal('docs/sidecar.md')]) {
    if (block.info === 'wrong-secret') continue;
    for (const step of stepsOf(block)) {
      count++;
      if (step.line === 'gcg') {
        gateway = right.serve();
        await gateway.until('READY');
        right.assertPrinted(gateway, step.output);
      } else await right.assertStep(step);
    }
  }
  t.equal(await gateway?.ended, 0, 'the last one ends it');

  const wrong = await session('another secret than the one of the client');
  const refused = wrong.serve();
  await refused.until('rejected');
  for (const block of terminal('docs/sidecar.md').filter(({ info }) => info === 'wrong-secret'))
    for (const step of stepsOf(block)) {
      count++;
      await wrong.assertStep(step);
    }
  t.ok(count > 10, `${count} steps`);
});

t.test('gcg init asks and says what stands there', async (t) => {
  const page = blocksOf('docs/start.md').find(({ text }) => text.startsWith('$ gcg init\n'));
  const [command = '', ...lines] = (page?.text ?? '').trimEnd().split('\n');
  const folder = createCommandFolder(t, null);
  const transcript: string[] = [];
  /** What a person would see: the question, what Enter takes, and the answer, as it stands on the page. */
  const asked = (question: string, fallback: string | null) => {
    const shown = `${question}${fallback ? ` [${fallback}]` : ''}:`;
    const answer =
      lines
        .find((line) => line.startsWith(shown))
        ?.slice(shown.length)
        .trim() ?? '';
    transcript.push(`${shown} ${answer}`.trimEnd());
    return answer;
  };
  const ask: Ask = {
    text: async (question, fallback) => asked(question, fallback) || fallback,
    secret: async (question) => {
      asked(question, null);
      return SECRET;
    },
    say: (words) => transcript.push(words.trimEnd()),
    close() {},
  };
  const { out, err } = await folder.run((args, io) => init(args, io, ask, async () => 1), command.split(' ').slice(2));
  // This folder is in a repository, which is warned of.
  const printed = `${out}${err}`.trimEnd().split('\n');
  transcript.push(...printed.filter((line) => !line.includes('is inside the git work tree')));
  const known = transcript.map((line) => line.replace(/^\/.*\/gcg\.ini$/, '/home/you/gateway/gcg.ini'));
  t.same(known.toSorted(), lines.toSorted());
});
