// Every `gcg …` of a page, in its blocks and in its text, is one that the command line takes: the command, its flags, its
// number of arguments, the settings of --set, and the faults of --simulate.

import t from 'tap';
import { parseCommandLine } from '../../../src/cli/args.ts';
import { COMMANDS, findCommand } from '../../../src/cli/command-table.ts';
import { readDemoFaults } from '../../../src/sandbox/demo-faults.ts';
import { blocksOf, codeOf, PAGES, read } from './pages.ts';

const NAMES: ReadonlySet<string> = new Set(COMMANDS.map(({ name }) => name));
const SHELLS: ReadonlySet<string> = new Set(['sh', 'console', 'bash']);

/**
 * The simple commands of a line of shell, as words: cut at what joins or redirects, quotes taken off, comments left out.
 * It knows as much of a shell as pages should use.
 */
export function simpleCommands(line: string): string[][] {
  const commands: string[][] = [[]];
  let word: string | null = null;
  const endWord = () => {
    if (word !== null) commands.at(-1)?.push(word);
    word = null;
  };
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? '';
    if (char === "'" || char === '"') {
      const end = line.indexOf(char, at + 1);
      if (end === -1) throw new Error(`a quote without end: ${line}`);
      word = (word ?? '') + line.slice(at + 1, end);
      at = end;
    } else if (char === '\\') word = (word ?? '') + (line[++at] ?? '');
    else if (char === '#' && word === null) break;
    else if (/\s/.test(char)) endWord();
    else if (char === '>' || char === '<') {
      // `<(` begins another command; what is written to, or read from, is none of its words.
      endWord();
      if (line[at + 1] === '(') {
        commands.push([]);
        at++;
      } else {
        const rest = /^[>&]*\s*\S*/.exec(line.slice(at + 1)) ?? [''];
        at += rest[0].length;
      }
    } else if (/[;|&()]/.test(char)) {
      endWord();
      commands.push([]);
    } else word = (word ?? '') + char;
  }
  endWord();
  return commands.filter((words) => words.length > 0);
}

/** The arguments of `gcg` where a simple command runs it, behind variables, `until` and what runs commands. */
function gcgArguments(words: readonly string[]): readonly string[] | null {
  const at = words.findIndex((word) => !/^[A-Z_]+=|^(?:until|while|if|then|do|exec|time|sudo|\$)$/.test(word));
  if (words[at] === 'gcg') return words.slice(at + 1);
  const within = words.indexOf('gcg');
  return /^(?:docker|podman|kubectl|docker-compose)$/.test(words[at] ?? '') && within > at
    ? words.slice(within + 1)
    : null;
}

/** What is wrong with a command of a page; null when nothing is. */
function mistake(args: readonly string[]): string | null {
  const parsed = parseCommandLine(args);
  if (parsed.kind === 'usage') return parsed.message;
  if (parsed.kind !== 'run') return null;
  const [verb = ''] = parsed.positionals;
  if (parsed.command === 'client' && verb !== 'VERB' && !findCommand('client')?.doc.includes(` ${verb}`))
    return `client has no ${verb}`;
  const faults = parsed.flags.get('simulate');
  // Placeholders stand for a value.
  if (typeof faults !== 'string' || /FAULTS|=N\b|…/.test(faults)) return null;
  const result = readDemoFaults(faults);
  return 'problem' in result ? result.problem : null;
}

/** Lines of commands: in a `console` block those behind `$ `, elsewhere all; joined where they go on. */
function linesOf(language: string, text: string): string[] {
  const lines = text.replaceAll(/\\\n\s*/g, ' ').split('\n');
  return language === 'console' || language === 'text'
    ? lines.filter((line) => line.startsWith('$ ')).map((line) => line.slice(2))
    : lines;
}

let inBlocks = 0;
let inText = 0;
for (const page of PAGES) {
  t.test(`the commands of ${page} are those of the program`, async (t) => {
    for (const { language, text, line } of blocksOf(page)) {
      if (!SHELLS.has(language) && language !== 'text') continue;
      // Programs of jq and awk go over lines; they run no command of ours.
      const shell = text.replaceAll(/'[^']*\n[^']*'/g, "'…'");
      for (const words of linesOf(language, shell).flatMap(simpleCommands)) {
        const args = gcgArguments(words);
        if (args === null) continue;
        inBlocks++;
        t.equal(mistake(args), null, `line ${line}: gcg ${args.join(' ')}`);
      }
    }
    for (const code of codeOf(page)) {
      if (!/^gcg(?: |$)/.test(code) || code.startsWith('gcg COMMAND')) continue;
      for (const words of simpleCommands(code.replaceAll(/ …|[[\]]/g, '').replaceAll('\\|', ' '))) {
        const args = gcgArguments(words);
        if (args === null) continue;
        inText++;
        // A text may name a command, or a flag, without what it takes.
        const wrong = mistake(args);
        t.ok(wrong === null || / needs /.test(wrong), `${code}: ${wrong}`);
      }
    }
  });
}

t.test('there are such commands, and each command of the program is on some page beside the reference', async (t) => {
  t.ok(inBlocks > 70, `${inBlocks} in blocks`);
  t.ok(inText > 150, `${inText} in the text`);
  const text = PAGES.filter((page) => page !== 'docs/commands.md' && page !== 'CHANGELOG.md')
    .map(read)
    .join('\n');
  for (const name of NAMES) t.match(text, new RegExp(`\\bgcg ${name}\\b`), name);
});

t.test('a wrong command is seen', async (t) => {
  const wrong = (line: string) => simpleCommands(line).map((words) => mistake(gcgArguments(words) ?? ['--help']));
  t.match(wrong('FOO=1 gcg serv --config x && gcg check')[0], /no command "serv"/);
  t.match(wrong("curl 'a | b' | gcg check --onlin")[1], /--onlin/);
  t.match(wrong('gcg demo --simulate sloww')[0], /slow/);
  t.match(wrong('gcg client remove crm')[0], /no remove/);
  t.same(wrong('docker exec gateway gcg status --json > x # gcg nothing'), [null]);
});
