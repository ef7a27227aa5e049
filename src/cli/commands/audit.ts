// `gcg audit verify FILE…`: says whether an audit trail is whole, and where not. Reads the files and nothing else.

import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isHeadHash, type Verification, type VerifiedChain, verifyTrail } from '../../audit/verify-trail.ts';
import { onOneLine } from '../../config/problem.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';

/** Exit code 0 when the trail is whole, 1 when it is not or cannot be read, 2 for another verb than `verify`. */
export async function audit(args: CommandLine, io: Io): Promise<number> {
  const [verb, ...patterns] = args.positionals;
  if (verb !== 'verify') return usage(io, 'write it like gcg audit verify FILE…');
  const from = textOf(args, 'from');
  const expect = (textOf(args, 'expect') ?? '').split(',').filter((hash) => hash !== '');
  const wrong = [...(from === undefined ? [] : [from]), ...expect].find((hash) => !isHeadHash(hash));
  if (wrong !== undefined) return usage(io, '--from and --expect take the hash of a line: 64 digits 0 to 9, a to f');
  let verification: Verification;
  try {
    verification = await verifyTrail(await filesOf(patterns, io.cwd), { from, expect });
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    io.stderr.write(`gcg: ${onOneLine(path ?? patterns.join(' '))} cannot be read (${code ?? 'error'})\n`);
    return EXIT.failure;
  }
  io.stdout.write(args.flags.has('json') ? jsonOf(verification) : textual(verification));
  return verification.problems.length === 0 ? EXIT.ok : EXIT.failure;
}

function usage(io: Io, message: string): number {
  io.stderr.write(`gcg: ${message}\nTry gcg audit --help.\n`);
  return EXIT.usage;
}

function textOf(args: CommandLine, flag: string): string | undefined {
  const value = args.flags.get(flag);
  return typeof value === 'string' ? value : undefined;
}

/** Each file once, also where a shell left a `*` as it is; without the locks that lie beside files of a trail. */
async function filesOf(patterns: readonly string[], cwd: string): Promise<string[]> {
  const files = new Set<string>();
  for (const pattern of patterns) {
    const path = resolve(cwd, pattern);
    const matching = /[*?]/.test(basename(path)) ? await matchesOf(path) : [];
    for (const file of matching.length === 0 ? [path] : matching) files.add(file);
  }
  return [...files].filter((file) => !files.has(file.replace(LOCK, '')) || !LOCK.test(file));
}

/** What the name of a lock, and of one that is being made or broken, has behind the file's. */
const LOCK = /\.lock(\.[^/]*)?$/;

/** The files of a folder that a name with `*` and `?` matches. */
async function matchesOf(path: string): Promise<string[]> {
  const source = basename(path).replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  const wanted = new RegExp(`^${source.replaceAll(/(\\\*)+/g, '.*').replaceAll('\\?', '.')}$`, 's');
  const names = await readdir(dirname(path)).catch(() => []);
  return names.filter((name) => wanted.test(name)).map((name) => join(dirname(path), name));
}

function jsonOf({ chains, problems, notes }: Verification): string {
  const document = { isWhole: problems.length === 0, chains: chains.map(chainOf), problems, notes };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function chainOf({ files, first, last, calls }: VerifiedChain) {
  const place = ({ seq, hash, time }: VerifiedChain['last']) => ({ seq, hash, time });
  return { files, calls, first: place(first), last: place(last) };
}

function textual({ chains, problems, notes }: Verification): string {
  const lines = problems.map(({ file, line, what }) => `${file}:${line}: ${what}`);
  for (const { file, line, what } of notes) lines.push(`${file}:${line}: note: ${what}`);
  for (const chain of chains) lines.push(summary(chain));
  lines.push(problems.length === 0 ? 'whole' : 'NOT WHOLE');
  return `${lines.map(onOneLine).join('\n')}\n`;
}

function summary({ files, first, last, calls }: VerifiedChain): string {
  const counted = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`;
  return (
    `${counted(calls, 'call')} in ${counted(files.length, 'file')}, lines ${first.seq} to ${last.seq}, ` +
    `from ${first.time} to ${last.time}, head ${last.hash}`
  );
}
