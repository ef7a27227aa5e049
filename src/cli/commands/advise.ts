// `gcg advise`: the least permissions that the calls seen so far need, against those the credentials have; from the
// running gateway, or from its log.

import { createReadStream } from 'node:fs';
import { onOneLine } from '../../config/problem.ts';
import { type Advice, adviseOn, type NotedOperation, type OperationUse } from '../../operations/advice.ts';
import { roleOf, terraformOf } from '../../operations/role.ts';
import type { OperationsDocument } from '../../server/routes/operations.ts';
import type { CommandLine } from '../args.ts';
import { fetchDocument } from '../document.ts';
import { EXIT, type Io } from '../io.ts';
import { readLogUses } from '../log-uses.ts';

const NO_GRANTS: OperationsDocument['granted'] = {};

/** 0 with advice; 1 for a log that cannot be read, 2 where one credential has to be named, 69 and 77 as of `status`. */
export async function advise(args: CommandLine, io: Io): Promise<number> {
  if (args.flags.has('role') && args.flags.has('terraform')) return refuse(io, 'give --role or --terraform, not both');
  const read = await readUses(args, io);
  if (typeof read === 'number') return read;
  const wanted = read.uses.filter(
    ({ client, credential }) =>
      isWanted(args.flags.get('client'), client) && isWanted(args.flags.get('credential'), credential),
  );
  const advice = adviseOn(wanted, (name) => (Object.hasOwn(read.granted, name) ? (read.granted[name] ?? null) : null));
  if (advice.length === 0) {
    io.stderr.write('gcg: no calls were seen that this could be about: let the application do its work first\n');
    return EXIT.failure;
  }
  if (args.flags.has('role') || args.flags.has('terraform')) return writeRole(args, io, advice);
  io.stdout.write(args.flags.has('json') ? `${JSON.stringify(advice, null, 2)}\n` : advice.map(adviceText).join('\n'));
  return EXIT.ok;
}

/** What was called and what is granted, or the exit code for why that cannot be told. */
async function readUses(args: CommandLine, io: Io): Promise<Pick<OperationsDocument, 'uses' | 'granted'> | number> {
  const from = args.flags.get('from');
  if (typeof from !== 'string') {
    const document = await fetchDocument<OperationsDocument>(args, io, '/-/operations');
    if (typeof document === 'number') return document;
    if (Array.isArray(document.uses) && typeof document.granted === 'object' && document.granted !== null)
      return document;
    io.stderr.write('gcg: what answers there is no gateway of this version: its operations cannot be read\n');
    return EXIT.unavailable;
  }
  const chunks = from === '-' ? process.stdin.setEncoding('utf8') : createReadStream(from, 'utf8');
  try {
    const { uses, records, unreadable } = await readLogUses(chunks as AsyncIterable<string>);
    const others = unreadable === 1 ? '; 1 line is no record' : `; ${unreadable} lines are no records`;
    io.stderr.write(`gcg: ${counted(records, 'call')} in the log${unreadable > 0 ? others : ''}\n`);
    return { uses, granted: NO_GRANTS };
  } catch (error) {
    io.stderr.write(
      `gcg: ${onOneLine(from)} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'it broke off'})\n`,
    );
    return EXIT.failure;
  }
}

function isWanted(wanted: unknown, name: OperationUse['client']): boolean {
  return typeof wanted !== 'string' || wanted === name;
}

function refuse(io: Io, problem: string): number {
  io.stderr.write(`gcg: ${problem}\nTry gcg advise --help.\n`);
  return EXIT.usage;
}

function writeRole(args: CommandLine, io: Io, advice: readonly Advice[]): number {
  const [one, ...others] = advice;
  if (one === undefined || others.length > 0)
    return refuse(io, `a role is for one credential: name it by --credential (${advice.map(nameOf).join(', ')})`);
  if (one.permissions.length === 0)
    io.stderr.write('gcg: these calls declare to need no permission: the role is empty\n');
  const client = args.flags.get('client');
  const name = onOneLine(`gcg-${one.credential}${typeof client === 'string' ? `-${client}` : ''}`);
  const description = `The least permissions of ${counted(one.operations, 'operation')}, as gcg saw them called`;
  const role = roleOf(name, description, one.permissions);
  io.stdout.write(args.flags.has('role') ? `${JSON.stringify(role, null, 2)}\n` : terraformOf(role));
  return EXIT.ok;
}

function nameOf({ credential }: Advice): string {
  return onOneLine(credential);
}

/** The advice on one credential as lines for a person. */
function adviceText(advice: Advice): string {
  const { granted, permissions, unlistedCalls } = advice;
  const lines = [
    `credential ${nameOf(advice)}: ${counted(advice.operations, 'operation')}, ${counted(advice.calls, 'call')} by ` +
      advice.clients.map(clientName).join(', '),
    ...section(advice.isLeast ? 'needs at least' : 'needs (a good set, not proven to be the least)', permissions),
    ...(permissions.length === 0 ? ['  needs no permission that is declared'] : []),
    ...(granted === null ? ['  what it is granted is not known'] : grantedLines(granted)),
    ...section('deprecated, and still called', advice.deprecated.map(notedText)),
    ...section('preview, and may change without notice', advice.preview.map(notedText)),
    ...section('about the person who is logged in, of whom client credentials have none', advice.aboutUser),
    ...section('declare no permission, and may check one all the same', advice.undeclared),
    ...section('not known what they need', advice.unknown),
    ...(unlistedCalls > 0 ? [`  ${unlistedCalls} calls went to what is not in the table of this release`] : []),
  ];
  return `${lines.map(onOneLine).join('\n')}\n`;
}

function grantedLines({ missing, unused, wide, refused }: NonNullable<Advice['granted']>): string[] {
  const lines = [
    ...section('missing', missing),
    ...section('refused without them', refused),
    ...section('granted and not used', unused),
    ...section(
      'granted wider than used',
      wide.map(({ grant, needed }) => `${grant} (used: ${needed.join(', ')})`),
    ),
  ];
  return lines.length === 0 ? ['  it is granted exactly that'] : lines;
}

function section(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`  ${title}:`, ...items.map((item) => `    ${item}`)];
}

function notedText({ operation, clients }: NotedOperation): string {
  return `${operation} (${clients.map(clientName).join(', ')})`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function clientName(client: string | null): string {
  return client ?? 'anonymous callers';
}
