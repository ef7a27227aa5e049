// Parses the command line by the table of commands: node:util parseArgs splits it, this file reports its mistakes.

import { parseArgs } from 'node:util';
import { type Overrides, parseSetFlag, SHORT_FLAGS, shortFlag, switchSetting } from '../config/flags.ts';
import { didYouMean, onOneLine } from '../config/problem.ts';
import type { RawEntry } from '../config/values.ts';
import { COMMANDS, COMMON_FLAGS, type CommandName, type FlagSpec, findCommand } from './command-table.ts';
import { commandHelp, mainHelp } from './help.ts';
import { settingsHelp } from './settings-help.ts';

/** A command to run. `flags` holds the command's own flags: text, or true for a switch. */
export interface CommandLine {
  readonly kind: 'run';
  readonly command: CommandName;
  readonly flags: ReadonlyMap<string, string | true>;
  readonly positionals: readonly string[];
  /** The words behind `--`: a command to run, with its arguments. Empty for all commands that run none. */
  readonly program: readonly string[];
  /** The settings given by flags. */
  readonly overrides: Overrides;
}

/** A parsed command line. `usage` is a mistake: print the message to stderr and exit 2. */
export type ParsedCommandLine =
  | CommandLine
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'version' }
  | { readonly kind: 'usage'; readonly message: string };

const NAMES = COMMANDS.map(({ name }) => name);

const ALL_FLAGS = new Map<string, FlagSpec>(
  [...COMMON_FLAGS, ...COMMANDS.flatMap(({ flags }): readonly FlagSpec[] => flags)].map((f) => [f.name, f]),
);

/** Parses argv without the program's name. Never throws. Messages repeat no value of a flag: it may be a secret. */
export function parseCommandLine(argv: readonly string[]): ParsedCommandLine {
  const options = Object.fromEntries(
    [...ALL_FLAGS.values()].map((flag) => [
      flag.name,
      {
        type: flag.value === undefined ? ('boolean' as const) : ('string' as const),
        ...(flag.letter !== undefined && { short: flag.letter }),
      },
    ]),
  );
  const { own, program } = splitProgram(argv);
  const { tokens } = parseArgs({
    args: deniedTerms(own),
    options: { ...options, h: { type: 'boolean' } },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  const given = tokens.filter((token) => token.kind === 'option');
  const wantsHelp = given.some(({ name }) => name === 'help' || name === 'h');

  // Flags are checked before the command: the word after an unknown flag may be its value, not a wrong command.
  const first = words[0] ?? 'serve';
  const wrong = wantsHelp ? undefined : given.map((flag) => refuseFlag(flag, first)).find((one) => one !== undefined);
  if (wrong !== undefined) return usage(wrong, words[0]);

  if (first === 'help') return helpOn(words[1]);
  const command = findCommand(first);
  if (command === undefined) return usage(`there is no command "${onOneLine(first)}"${suggestCommand(first)}`);
  if (wantsHelp) return { kind: 'help', text: words.length === 0 ? mainHelp() : commandHelp(command) };
  if (given.some(({ name }) => name === 'version')) return { kind: 'version' };

  const known = new Set([...COMMON_FLAGS, ...command.flags].map(({ name }) => name));
  const flags = new Map<string, string | true>();
  const entries: RawEntry[] = [];
  let configPath: string | undefined;
  for (const { name, value } of given) {
    if (!known.has(name)) return usage(`${first} has no option --${name}${suggestFlag(name, known)}`, first);
    const switched = value === undefined ? switchSetting(name) : undefined;
    if (switched !== undefined) entries.push(switched);
    else if (value === undefined) flags.set(name, true);
    else if (name === 'config') configPath = value;
    else if (name === 'set') {
      const setting = parseSetFlag(value);
      if (!setting.ok) return usage(setting.message, first);
      entries.push(setting.value);
    } else if (isShortFlag(name)) entries.push(shortFlag(name, value));
    else flags.set(name, isList(name) && flags.has(name) ? `${flags.get(name)},${value}` : value);
  }
  const positionals = words.slice(1);
  if (command.takesProgram && (program.length === 0 || positionals.length > 0))
    return usage(`${first} needs -- before the command to run; write gcg ${first} ${command.arguments}`, first);
  if (positionals.length > command.maxArguments) {
    const extra = positionals[command.maxArguments] ?? '';
    const hint = /\.(ini|json)$/.test(extra) ? `; for a file write --config ${onOneLine(extra)}` : '';
    const takes = command.arguments === '' ? 'no argument' : `only ${command.arguments}`;
    return usage(`${first} takes ${takes}${hint}`, first);
  }
  if (positionals.length < command.minArguments && !command.takesProgram)
    return usage(`${first} needs ${command.arguments}; write gcg ${first} ${command.arguments}`, first);
  return { kind: 'run', command: command.name, flags, positionals, program, overrides: { configPath, entries } };
}

/** No option has a colon: `-status:200` is a term of a filter, where the command takes one. */
function deniedTerms(argv: readonly string[]): string[] {
  if (!argv.some((word) => findCommand(word)?.takesFilter)) return [...argv];
  return argv.map((word) => (/^-(?:[a-z]+:|\()/i.test(word) ? `NOT ${word.slice(1)}` : word));
}

/** Cuts off what stands behind `--`, which is another program's, where the command takes one. */
function splitProgram(argv: readonly string[]): { own: readonly string[]; program: readonly string[] } {
  const end = argv.indexOf('--');
  const own = end === -1 ? [] : argv.slice(0, end);
  if (!own.some((word) => findCommand(word)?.takesProgram)) return { own: argv, program: [] };
  return { own, program: argv.slice(end + 1) };
}

/** Says what is wrong with a flag in any command; undefined when nothing is. `word` stands where the command does. */
function refuseFlag(
  token: {
    name: string;
    rawName: string;
    value?: string | undefined;
    inlineValue?: boolean | undefined;
  },
  word: string,
): string | undefined {
  const { name, rawName, value, inlineValue } = token;
  const flag = ALL_FLAGS.get(name);
  const spelt = onOneLine(rawName.split('=')[0] ?? rawName);
  if (flag === undefined) {
    // What the command does not take would be no help.
    const command = findCommand(word);
    const taken = command === undefined ? ALL_FLAGS.values() : [...COMMON_FLAGS, ...command.flags];
    const names = [...taken].map((one) => one.name);
    return `there is no option ${spelt}${suggestFlag(name, names)}`;
  }
  if (flag.value === undefined) return value === undefined ? undefined : `${spelt} is a switch and takes no value`;
  if (value === undefined) return `${spelt} needs ${flag.value}; write ${spelt}=${flag.value}`;
  // It may be the next option, or a code or secret of chance that begins so.
  const isDoubtful = value.startsWith('-') && value.length > 1 && !inlineValue;
  return isDoubtful
    ? `${spelt} needs ${flag.value}; one that begins with - is written ${spelt}=${flag.value}, with no space`
    : undefined;
}

function helpOn(topic: string | undefined): ParsedCommandLine {
  if (topic === undefined) return { kind: 'help', text: mainHelp() };
  if (topic === 'settings') return { kind: 'help', text: settingsHelp() };
  const command = findCommand(topic);
  if (command !== undefined) return { kind: 'help', text: commandHelp(command) };
  return usage(`there is no help on "${onOneLine(topic)}"${didYouMean(topic, [...NAMES, 'settings'])}`);
}

/** A mistake, with a hint to the help of `command` where that is one. */
function usage(message: string, command = ''): ParsedCommandLine {
  return { kind: 'usage', message: `gcg: ${message}\nTry gcg ${findCommand(command) ? `${command} ` : ''}--help.\n` };
}

/** Our flags by the names that other programs use. */
const ALIASES: Readonly<Record<string, string>> = {
  v: 'version',
  V: 'version',
  c: 'config',
  f: 'config',
  file: 'config',
  p: 'listen',
  port: 'listen',
  bind: 'listen',
  address: 'listen',
  l: 'listen',
  region: 'host',
  environment: 'host',
  verbose: 'log-level',
  debug: 'log-level',
  o: 'output',
};

function suggestFlag(name: string, known: Iterable<string>): string {
  const names = [...known];
  const alias = Object.hasOwn(ALIASES, name) ? (ALIASES[name] ?? '') : '';
  return names.includes(alias) ? `; did you mean "--${alias}"?` : didYouMean(name, names).replace('"', '"--');
}

function suggestCommand(word: string): string {
  if (word === 'version') return '; did you mean "--version"?';
  const begun = word.length < 2 ? [] : NAMES.filter((name) => name.startsWith(word.toLowerCase()));
  return begun.length === 1 ? `; did you mean "${begun[0]}"?` : didYouMean(word, NAMES);
}

function isList(name: string): boolean {
  return ALL_FLAGS.get(name)?.isRepeatable === true;
}

function isShortFlag(name: string): name is keyof typeof SHORT_FLAGS {
  return Object.hasOwn(SHORT_FLAGS, name);
}
