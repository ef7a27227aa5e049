// `gcg har`: calls of the running gateway as a file to give away, and what a mark in such a file stands for.

import { lstat, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { onOneLine } from '../../config/problem.ts';
import { replaceFile } from '../../fs/atomic-write.ts';
import type { AdminResponse, ConfigToAsk } from '../admin-client.ts';
import { createAdminRequest, exitCodeOf, loadToAsk, noGatewayAt, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { otherVersion } from '../document.ts';
import { filterArgument } from '../filter-argument.ts';
import { EXIT, type Io } from '../io.ts';

/** The gateway keeps no more than this, bodies included. */
const LARGEST_FILE_BYTES = 256 * 1024 * 1024;
const LONGEST_MS = 120_000;

/** 0 when the file was written, 1 when no such call is kept, 2 for what cannot be asked, 69 and 77 as the others. */
export async function har(args: CommandLine, io: Io): Promise<number> {
  const known = loadToAsk(args, io);
  const mark = args.flags.get('which');
  if (mark !== undefined) return which(String(mark), known, io);
  const wish = wishIn(args, io);
  if (typeof wish === 'string') {
    io.stderr.write(`gcg: ${wish}\nTry gcg har --help.\n`);
    return EXIT.usage;
  }
  const answer = await asked(known, io, '/-/export', wish);
  if (typeof answer === 'number') return answer;
  const { entries, about } = contentOf(answer.body);
  if (entries === null) {
    io.stderr.write(otherVersion('file'));
    return EXIT.unavailable;
  }
  const file = args.flags.get('output');
  if (file === undefined || file === '-') io.stdout.write(answer.text);
  else if (!(await written(resolve(io.cwd, String(file)), answer.text, io))) return EXIT.failure;
  io.stderr.write(`${entries} ${entries === 1 ? 'call' : 'calls'}. ${about}\n`);
  return EXIT.ok;
}

/** The wish as the gateway takes it, or what is wrong with it. */
function wishIn(args: CommandLine, io: Io): object | string {
  const { flags } = args;
  if (flags.get('output') === undefined && io.isTTY) return 'say where to write it: -o FILE, or -o - for the terminal';
  const ids = flags.get('id');
  if (ids !== undefined && args.positionals.length > 0) return 'a filter or --id, not both';
  const chosen = filterArgument(args);
  if ('problem' in chosen) return chosen.problem;
  const bodies = flags.get('bodies') ?? 'none';
  if (bodies !== 'none' && bodies !== 'shape' && bodies !== 'full') return '--bodies is none, shape or full';
  const scope = flags.get('scope') ?? 'file';
  if (scope !== 'file' && scope !== 'run') return '--scope is file or run';
  if (bodies === 'full' && !flags.has('yes'))
    return 'bodies may hold personal data of customers: add --yes if that is to be in the file, or say --bodies shape';
  const one = ids === undefined ? { f: chosen.filter } : { ids: String(ids).split(',') };
  return { ...one, bodies, scope, ...(bodies === 'full' && { confirm: 'full' }) };
}

/** The answer, or the exit code after a message that says why there is none. */
async function asked(known: ConfigToAsk, io: Io, path: string, wish: object): Promise<AdminResponse | number> {
  const { config, isBroken, isGuess } = known;
  const ask = createAdminRequest(config, io, { isGuess, forPage: true });
  const bounds = { maxBytes: LARGEST_FILE_BYTES, timeoutMs: LONGEST_MS };
  const answer = await ask('POST', path, JSON.stringify(wish), bounds).catch((error: Error) => error);
  if (answer === null || answer instanceof Error) {
    io.stderr.write(`gcg: ${answer === null ? noGatewayAt(config) : onOneLine(answer.message)}\n`);
    return answer === null && isBroken ? EXIT.badConfig : EXIT.unavailable;
  }
  if (answer.error === null) return answer;
  io.stderr.write(`gcg: ${refusal(answer.error, known)}\n`);
  return answer.error.status === 404 ? EXIT.failure : exitCodeOf(answer.error);
}

/** How many calls are in a file, and what it says of itself; null where it is none. */
function contentOf(body: unknown): { readonly entries: number | null; readonly about: string } {
  const { log } = (body ?? {}) as { log?: { entries?: unknown; comment?: unknown } };
  const entries = Array.isArray(log?.entries) ? log.entries.length : null;
  // Its first sentence counts the calls.
  const about = typeof log?.comment === 'string' ? onOneLine(log.comment).replace(/^[^.]*\. /, '') : '';
  return { entries, about };
}

/** Whether the file is there, for its owner alone. */
async function written(path: string, text: string, io: Io): Promise<boolean> {
  try {
    const found = await lstat(path).catch(() => null);
    // A device or a pipe is written to, and not replaced.
    await (found === null || found.isFile() || found.isSymbolicLink()
      ? replaceFile(path, text)
      : writeFile(path, text));
    return true;
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    io.stderr.write(`gcg: ${onOneLine(path)} cannot be written (${code})\n`);
    return false;
  }
}

async function which(mark: string, known: ConfigToAsk, io: Io): Promise<number> {
  const answer = await asked(known, io, '/-/export/which', { mark });
  if (typeof answer === 'number') return answer;
  const { found } = (answer.body ?? {}) as { found?: unknown };
  if (typeof found === 'string') {
    io.stdout.write(`${onOneLine(found)}\n`);
    return EXIT.ok;
  }
  io.stderr.write(
    'gcg: no secret in use has this mark: it may be an earlier secret, or the file is older than this start\n',
  );
  return EXIT.failure;
}
