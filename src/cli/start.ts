// The first that is loaded of the command: answers at once what needs no other code, and loads what the rest needs.

import { readFileSync } from 'node:fs';
import { isSource, programFile } from '../program-folder.ts';
import { readVersion } from '../version.ts';
import { useCompileCache } from './compile-cache.ts';
import type { HeldSignals } from './held-signals.ts';
import { EXIT, type Io, processIo, watchOutputs } from './io.ts';
import { KeptScript } from './kept-script.ts';
import { isReady } from './quick-probe.ts';

/** Runs one command line; resolves with the process's exit code, once what it wrote is written. */
export async function start(argv: readonly string[], signals: HeldSignals): Promise<number> {
  const startedAt = process.uptime();
  if (argv.length === 1 && argv[0] === 'healthcheck' && (await isReady(process.env))) return EXIT.ok;
  const outputs = watchOutputs();
  const answer = readyMadeAnswer(argv);
  if (answer !== null) process.stdout.write(answer);
  const code = answer === null ? await run(argv, processIo(signals), (process.uptime() - startedAt) * 1000) : EXIT.ok;
  return outputs.settle(code);
}

async function run(argv: readonly string[], io: Io, spentMs: number): Promise<number> {
  const [first = 'serve'] = argv;
  if (first === 'healthcheck' || first === 'wait') return (await import('./probes.ts')).runProbe(argv, io, spentMs);
  // Those before start as soon without.
  const folder = isSource ? null : useCompileCache({ ...io, uid: process.geteuid?.() });
  if (first === 'serve' || first === 'run' || first === 'demo') return serve(argv, io, folder);
  return (await import('./run.ts')).run(argv, io);
}

/** Runs one of the commands that serve. `folder`: where compiled code is kept. */
async function serve(argv: readonly string[], io: Io, folder: string | null): Promise<number> {
  if (folder === null) return (await import('./serving.ts')).runServing(argv, io);
  const script = new KeptScript<typeof import('./serving.ts')>(programFile('serving.cjs'), folder);
  try {
    return await script.exports.runServing(argv, io);
  } finally {
    script.close();
  }
}

/** The version, and the pages of help that the build has made; null for all the rest. */
function readyMadeAnswer([first = '', second, ...more]: readonly string[]): string | null {
  if (isSource || more.length > 0) return null;
  const isAlone = second === undefined;
  if (isAlone && first === '--version') return `${readVersion()}\n`;
  if (isAlone && (first === '--help' || first === '-h' || first === 'help')) return readyMade('help');
  const isHelp = second === '--help' || second === '-h';
  return isHelp && /^[a-z]+$/.test(first) ? readyMade(`help-${first}`) : null;
}

/** A page that the build wrote beside the program; null where it wrote none of that name. */
function readyMade(name: string): string | null {
  try {
    return readFileSync(programFile(`pages/${name}.txt`), 'utf8');
  } catch {
    return null;
  }
}
