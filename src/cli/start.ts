// The first that is loaded of the command: answers at once what needs no other code, and loads what the rest needs.

import { readFileSync } from 'node:fs';
import { isSource, programFile } from '../program-folder.ts';
import { readVersion } from '../version.ts';
import type { HeldSignals } from './held-signals.ts';
import { EXIT, type Io, processIo, watchOutputs } from './io.ts';
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
  const [first] = argv;
  if (first === 'healthcheck' || first === 'wait') return (await import('./probes.ts')).runProbe(argv, io, spentMs);
  return (await import('./compiled.ts')).runCompiled(argv, io);
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
