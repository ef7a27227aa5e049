// `gcg completion SHELL`: prints a completion script, made from the table of commands and the table of options. The
// script calls no program at run time.

import { SECTIONS } from '../../config/table.ts';
import type { CommandLine } from '../args.ts';
import { COMMANDS, COMMON_FLAGS, type CommandSpec, type FlagSpec } from '../command-table.ts';
import { EXIT, type Io } from '../io.ts';

const SCRIPTS = { bash, zsh, fish } as const;

/** Prints the script for bash, zsh or fish; 2 for another shell. */
export async function completion(args: CommandLine, io: Io): Promise<number> {
  const shell = args.positionals[0] ?? '';
  if (!Object.hasOwn(SCRIPTS, shell)) {
    io.stderr.write(`gcg: completion is for ${Object.keys(SCRIPTS).join(', ')}\n`);
    return EXIT.usage;
  }
  io.stdout.write(SCRIPTS[shell as keyof typeof SCRIPTS]());
  return EXIT.ok;
}

const PROGRAMS = ['gcg', 'genesys-cloud-gateway'];

/** The completions of `--set`: every key but secrets, and but those of credentials and clients, which need a name. */
function settings(): string[] {
  return SECTIONS.filter(({ name, isNamed }) => name === 'credential' || !isNamed).flatMap(({ name, rows }) =>
    rows.filter(({ isSecret }) => !isSecret).map(({ key }) => `${name}.${key}=`),
  );
}

const flagsOf = (command: CommandSpec): readonly FlagSpec[] => [...command.flags, ...COMMON_FLAGS];

function bash(): string {
  const cases = COMMANDS.map(
    (command) =>
      `    ${command.name}) words="${flagsOf(command)
        .map(({ name }) => `--${name}`)
        .join(' ')}" ;;`,
  );
  return `# bash completion for gcg: source <(gcg completion bash)
_gcg() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words="" command="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) command="$word"; break ;; esac
  done
  case "$previous" in
    --config) compopt -o filenames; COMPREPLY=($(compgen -f -- "$current")); return ;;
    --set) compopt -o nospace; COMPREPLY=($(compgen -W "${settings().join(' ')}" -- "$current")); return ;;
  esac
  case "$command" in
${cases.join('\n')}
    *) words="${[...COMMANDS.map(({ name }) => name), ...COMMON_FLAGS.map(({ name }) => `--${name}`)].join(' ')}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _gcg ${PROGRAMS.join(' ')}
`;
}

/** Escapes what ends a description in zsh: brackets, colons, quotes. */
const quoted = (text: string) =>
  text.replaceAll("'", "'\\''").replaceAll('[', '\\[').replaceAll(']', '\\]').replaceAll(':', '\\:');

function zsh(): string {
  const flag = ({ name, value, doc, isRepeatable }: FlagSpec) => {
    const argument =
      value === undefined
        ? ''
        : name === 'config'
          ? ':file:_files'
          : name === 'set'
            ? ':setting:($settings)'
            : `:${value}:`;
    return `'${isRepeatable ? '*' : ''}--${name}${value === undefined ? '' : '='}[${quoted(doc)}]${argument}'`;
  };
  const cases = COMMANDS.map((command) => `    ${command.name}) _arguments ${flagsOf(command).map(flag).join(' ')} ;;`);
  return `#compdef ${PROGRAMS.join(' ')}
# zsh completion for gcg: put this into a file _gcg in a folder of $fpath
_gcg() {
  local -a commands settings
  commands=(${COMMANDS.map(({ name, doc }) => `'${name}:${quoted(doc)}'`).join(' ')})
  settings=(${settings().join(' ')})
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then _describe command commands; return; fi
  case $words[2] in
${cases.join('\n')}
    *) _arguments ${COMMON_FLAGS.map(flag).join(' ')} ;;
  esac
}
# Loaded from $fpath this file is the function itself, and has to work the first time too.
# When it is sourced, it only registers the function.
if [[ $funcstack[1] == _gcg ]]; then _gcg "$@"; else compdef _gcg ${PROGRAMS.join(' ')}; fi
`;
}

function fish(): string {
  const text = (doc: string) => `'${doc.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const line = (condition: string, { name, value, doc }: FlagSpec) => {
    const argument =
      value === undefined
        ? ''
        : name === 'config'
          ? ' -r -F'
          : name === 'set'
            ? ` -x -a '${settings().join(' ')}'`
            : ' -x';
    return `complete -c gcg ${condition}-l ${name}${argument} -d ${text(doc)}`;
  };
  return [
    '# fish completion for gcg: gcg completion fish > ~/.config/fish/completions/gcg.fish',
    'complete -c gcg -f',
    ...COMMANDS.map(({ name, doc }) => `complete -c gcg -n __fish_use_subcommand -a ${name} -d ${text(doc)}`),
    ...COMMON_FLAGS.map((flag) => line('', flag)),
    ...COMMANDS.flatMap(({ name, flags }) =>
      flags.map((flag) => line(`-n '__fish_seen_subcommand_from ${name}' `, flag)),
    ),
    `complete -c genesys-cloud-gateway -w gcg`,
    '',
  ].join('\n');
}
