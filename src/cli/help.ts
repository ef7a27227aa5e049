// Help texts, made from the table of commands: at most 80 columns, for people. The table of options is not loaded for
// them.

import { COMMANDS, COMMON_FLAGS, type CommandSpec, type FlagSpec } from './command-table.ts';

const WIDTH = 80;

/** What every command may end with; a command's own are in its row of the table. */
export const EXIT_CODES: readonly (readonly [string, string])[] = [
  ['0', 'success (also after SIGTERM or SIGINT)'],
  ['1', 'runtime error'],
  ['2', 'invalid command line'],
  ['69', 'a listener or Genesys Cloud is not available'],
  ['77', 'Genesys Cloud refuses the credentials'],
  ['78', 'the configuration is wrong'],
];

/** `gcg --help`. */
export function mainHelp(): string {
  return page([
    'gcg: an authenticating gateway for the Genesys Cloud API',
    '',
    'Usage: gcg [command] [options]',
    '',
    'Commands',
    ...columns(COMMANDS.map((command) => [usageOf(command), command.doc])),
    '',
    'Options of every command',
    ...columns(COMMON_FLAGS.map(describeFlag)),
    '',
    'Run gcg COMMAND --help for details; gcg help settings lists every setting.',
    'Values come from flags, then the environment (GCG_…), then the configuration',
    'file, then the defaults.',
    '',
    'New here? Try gcg demo.',
    '',
    'Exit codes',
    ...columns(EXIT_CODES),
  ]);
}

/** `gcg COMMAND --help`. */
export function commandHelp(command: CommandSpec): string {
  const flags = command.flags.length === 0 ? [] : ['Options', ...columns(command.flags.map(describeFlag)), ''];
  const values = command.values === undefined ? [] : [command.values.title, ...columns(command.values.rows), ''];
  const examples = (command.examples ?? []).flatMap(([line, doc]) => [
    `  gcg ${line}`,
    ...(doc === '' ? [] : wrap(doc, '      ')),
  ]);
  const exits = command.exits ?? [];
  return page([
    `Usage: gcg ${command.takesProgram ? `${command.name} [options] ${command.arguments}` : `${usageOf(command)} [options]`}`,
    '',
    ...wrap(sentence(command.doc), ''),
    ...(command.more === undefined ? [] : wrap(command.more, '')),
    '',
    ...flags,
    ...values,
    'Options of every command',
    ...columns(COMMON_FLAGS.map(describeFlag)),
    ...(examples.length === 0 ? [] : ['', 'Examples', ...examples]),
    ...(exits.length === 0 ? [] : ['', 'Exit codes, beside those of gcg --help', ...columns(exits)]),
  ]);
}

function usageOf(command: CommandSpec): string {
  return command.arguments === '' ? command.name : `${command.name} ${command.arguments}`;
}

function describeFlag(flag: FlagSpec): readonly [string, string] {
  const letter = flag.letter === undefined ? '' : `-${flag.letter}, `;
  return [`${letter}--${flag.name}${flag.value === undefined ? '' : ` ${flag.value}`}`, flag.doc];
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Lines as one text. */
export function page(lines: readonly string[]): string {
  return `${lines.join('\n').trimEnd()}\n`;
}

/** Two columns; a left part that is too long gets a line of its own. */
export function columns(rows: readonly (readonly [string, string])[]): string[] {
  const left = Math.min(24, Math.max(...rows.map(([head]) => head.length)));
  return rows.flatMap(([head, text]) => {
    const lines = wrap(text, ' '.repeat(left + 4));
    if (head.length > left) return [`  ${head}`, ...lines];
    return [`  ${head.padEnd(left + 2)}${lines[0]?.trimStart() ?? ''}`, ...lines.slice(1)];
  });
}

/** Words in lines, each with `indent` before it. */
export function wrap(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > WIDTH) {
      lines.push(indent + line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, indent + line];
}
