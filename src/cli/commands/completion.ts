// `gcg completion SHELL`: prints a completion script, made from the table of commands and the table of options. The
// script does not call gcg at run time: names of credentials are read from the INI file by sed.

import { SHORT_FLAGS } from '../../config/flags.ts';
import { findKey, SECTIONS } from '../../config/table.ts';
import { DEMO_FAULT_ROWS } from '../../sandbox/demo-faults.ts';
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

/** The possible values of a flag; empty when they cannot be listed. */
function valuesOf({ name }: FlagSpec): readonly string[] {
  if (name === 'simulate') return DEMO_FAULT_ROWS.map(([fault]) => fault.replace(/\[.*/, ''));
  const setting = name === 'grant-type' ? (['credential', 'grant_type'] as const) : SHORT_FLAGS[name as never];
  const kind = setting === undefined ? undefined : findKey(setting[0], setting[1])?.option.kind;
  return kind?.type === 'choice' ? kind.of : [];
}

const ALL_FLAGS = new Map(
  [...COMMON_FLAGS, ...COMMANDS.flatMap(({ flags }): readonly FlagSpec[] => flags)].map((flag) => [flag.name, flag]),
);

/** Flags whose values can be listed. */
const listed = () => [...ALL_FLAGS.values()].filter((flag) => valuesOf(flag).length > 0);

/** Commands that take the name of a credential. */
const NAMING: readonly string[] = COMMANDS.filter((command) => command.arguments === '[NAME]').map(({ name }) => name);

/** A shell command that prints the names of credentials in the files that gcg looks for first. */
const NAMES =
  "sed -n 's/^\\[credential\\.\\([a-z0-9-]*\\)\\].*/\\1/p' gcg.ini ~/.config/genesys-cloud-gateway/config.ini 2>/dev/null";

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
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ $word == -- ]]; then COMPREPLY=($(compgen -cf -- "$current")); return; fi
  done
  case "$previous" in
${listed()
  .map((flag) => `    --${flag.name}) COMPREPLY=($(compgen -W "${valuesOf(flag).join(' ')}" -- "$current")); return ;;`)
  .join('\n')}
    --config) compopt -o filenames; COMPREPLY=($(compgen -f -- "$current")); return ;;
    --set) compopt -o nospace; COMPREPLY=($(compgen -W "${settings().join(' ')}" -- "$current")); return ;;
  esac
  case "$command" in
${cases.join('\n')}
    *) words="${[...COMMANDS.map(({ name }) => name), ...COMMON_FLAGS.map(({ name }) => `--${name}`)].join(' ')}" ;;
  esac
  case "$command" in ${NAMING.join('|')}) words+=" $(${NAMES})" ;; esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _gcg ${PROGRAMS.join(' ')}
`;
}

/** Escapes what ends a description in zsh: brackets, colons, quotes. */
const quoted = (text: string) =>
  text.replaceAll("'", "'\\''").replaceAll('[', '\\[').replaceAll(']', '\\]').replaceAll(':', '\\:');

function zsh(): string {
  const flag = (spec: FlagSpec) => {
    const { name, value, doc, isRepeatable } = spec;
    const argument =
      value === undefined
        ? ''
        : name === 'config'
          ? ':file:_files'
          : name === 'set'
            ? ':setting:($settings)'
            : `:${value}:${valuesOf(spec).length === 0 ? '' : `(${valuesOf(spec).join(' ')})`}`;
    return `'${isRepeatable ? '*' : ''}--${name}${value === undefined ? '' : '='}[${quoted(doc)}]${argument}'`;
  };
  const rest = (command: CommandSpec) => {
    if (command.takesProgram) return " '*::command:_normal'";
    return NAMING.includes(command.name) ? " '*:credential:($names)'" : '';
  };
  const cases = COMMANDS.map(
    (command) => `    ${command.name}) _arguments ${flagsOf(command).map(flag).join(' ')}${rest(command)} ;;`,
  );
  return `#compdef ${PROGRAMS.join(' ')}
# zsh completion for gcg: put this into a file _gcg in a folder of $fpath
_gcg() {
  local -a commands settings names
  commands=(${COMMANDS.map(({ name, doc }) => `'${name}:${quoted(doc)}'`).join(' ')})
  settings=(${settings().join(' ')})
  names=(\${(f)"$(${NAMES})"})
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
  const line = (condition: string, spec: FlagSpec) => {
    const { name, value, doc } = spec;
    const values = name === 'set' ? settings() : valuesOf(spec);
    const argument =
      value === undefined
        ? ''
        : name === 'config'
          ? ' -r -F'
          : ` -x${values.length === 0 ? '' : ` -a '${values.join(' ')}'`}`;
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
    `complete -c gcg -n '__fish_seen_subcommand_from ${NAMING.join(' ')}' -a ${text(`(${NAMES})`)}`,
    `complete -c genesys-cloud-gateway -w gcg`,
    '',
  ].join('\n');
}
