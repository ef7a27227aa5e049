// The first that is loaded of the command: says at once what can be said with nothing but the table of commands, and
// loads what the rest needs.

import { isSource } from '../program-folder.ts';
import { findCommand } from './command-table.ts';
import { EXIT, type Io } from './io.ts';

/** Runs one command; resolves with the process's exit code. */
export async function start(argv: readonly string[], io: Io): Promise<number> {
  const answer = await answerAtOnce(argv);
  if (answer !== null) {
    io.stdout.write(answer);
    return EXIT.ok;
  }
  if (argv[0] === 'healthcheck' || argv[0] === 'wait') return (await import('./probes.ts')).runProbe(argv, io);
  // Those before start as soon without.
  if (!isSource) await cacheCode(io);
  if (argv.length === 0 || ['serve', 'run', 'demo'].includes(argv[0] as string))
    return (await import('./serving.ts')).runServing(argv, io);
  return (await import('./run.ts')).run(argv, io);
}

async function cacheCode(io: Io): Promise<void> {
  const { useCompileCache } = await import('./compile-cache.ts');
  useCompileCache({ ...io, uid: process.geteuid?.() });
}

/** What is asked for most, and needs no table of options; null for all the rest. */
async function answerAtOnce([first = '', second, ...more]: readonly string[]): Promise<string | null> {
  if (more.length > 0) return null;
  const isAlone = second === undefined;
  if (isAlone && first === '--version') return `${(await import('../version.ts')).VERSION}\n`;
  const command = second === '--help' || second === '-h' ? findCommand(first) : undefined;
  if (command === undefined && !(isAlone && ['--help', '-h', 'help'].includes(first))) return null;
  const { commandHelp, mainHelp } = await import('./help.ts');
  return command === undefined ? mainHelp() : commandHelp(command);
}
