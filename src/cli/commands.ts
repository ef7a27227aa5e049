// The table of commands: what each does and which flags it takes. args.ts reads the command line by it, help.ts prints it.

import { DEMO_FAULT_ROWS } from './demo-faults.ts';

/** One flag. A `value` is what stands for its argument in help; without one it is a switch. */
export interface FlagSpec {
  readonly name: string;
  readonly value?: string;
  /** Values given to it one after the other are one list, joined by commas; `set` has its own way. */
  readonly isRepeatable?: true;
  readonly doc: string;
}

/** One command. `arguments` is how its positional arguments are written in help. */
export interface CommandSpec {
  readonly name: string;
  readonly arguments: string;
  readonly minArguments: number;
  readonly maxArguments: number;
  /** One line. */
  readonly doc: string;
  readonly more?: string;
  readonly flags: readonly FlagSpec[];
  /** What a flag's value may be, for help. */
  readonly values?: { readonly title: string; readonly rows: readonly (readonly [string, string])[] };
}

/** Flags that every command takes. */
export const COMMON_FLAGS: readonly FlagSpec[] = [
  { name: 'config', value: 'FILE', doc: 'the configuration file, INI or JSON' },
  { name: 'set', value: 'SECTION.KEY=VALUE', isRepeatable: true, doc: 'set any option but a secret; may be repeated' },
  { name: 'listen', value: 'ADDRESS', doc: 'short for --set server.listen=ADDRESS' },
  { name: 'host', value: 'REGION', doc: 'short for --set general.host=REGION' },
  { name: 'log-level', value: 'LEVEL', doc: 'short for --set logging.log_level=LEVEL' },
  { name: 'log-format', value: 'FORMAT', doc: 'short for --set logging.log_format=FORMAT' },
  { name: 'help', doc: 'show this help' },
  { name: 'version', doc: 'show the version' },
];

const JSON_FLAG: FlagSpec = { name: 'json', doc: 'print JSON' };
const NO_ARGUMENTS = { arguments: '', minArguments: 0, maxArguments: 0 } as const;
const MAYBE_NAME = { arguments: '[NAME]', minArguments: 0, maxArguments: 1 } as const;

/** All commands, in the order of the help. */
export const COMMANDS = [
  {
    ...NO_ARGUMENTS,
    name: 'serve',
    doc: 'run the gateway; what gcg does without a command',
    more: 'Log records go to stdout. SIGTERM and SIGINT end it after the calls in progress, SIGHUP reloads the configuration.',
    flags: [],
  },
  {
    ...NO_ARGUMENTS,
    name: 'demo',
    doc: 'run the gateway with a simulated Genesys Cloud behind it',
    more: 'Needs no file and no account. Prints curl lines to copy. Nothing goes wrong in the simulation unless you ask for it.',
    flags: [{ name: 'simulate', value: 'FAULTS', isRepeatable: true, doc: 'what goes wrong, as in rate-limit=60,slow' }],
    values: { title: 'Faults', rows: DEMO_FAULT_ROWS },
  },
  {
    ...NO_ARGUMENTS,
    name: 'init',
    doc: 'write a configuration, by asking or from flags',
    flags: [
      { name: 'from-gc', doc: "import the profiles of Genesys' own CLI" },
      { name: 'output', value: 'FILE', doc: 'the file to write (gcg.ini)' },
      { name: 'force', doc: 'replace the file if it is there' },
      { name: 'grant-type', value: 'GRANT', doc: 'how tokens are obtained' },
      { name: 'client-id', value: 'ID', doc: 'the OAuth client id' },
      { name: 'redirect-uri', value: 'URL', doc: 'the redirect URI registered with the OAuth client' },
    ],
  },
  {
    ...NO_ARGUMENTS,
    name: 'check',
    doc: 'read the configuration and report all that is wrong with it',
    more: 'Opens no listener. Each problem is one line with file and line number.',
    flags: [{ name: 'online', doc: 'also obtain a token for each credential and try it' }],
  },
  {
    ...NO_ARGUMENTS,
    name: 'config',
    doc: 'show the effective configuration and where each value came from',
    more: 'Secrets are masked.',
    flags: [JSON_FLAG, { name: 'schema', doc: 'print the JSON Schema of the configuration instead' }],
  },
  {
    ...MAYBE_NAME,
    name: 'login',
    doc: 'log in with a browser, for grants with a user',
    more: 'NAME is a credential; without it, the default one, or the only one with a login. A running gateway is asked, also where there is no configuration; without one the login ends in the file store.',
    flags: [
      { name: 'paste', doc: 'for machines without a browser: paste the final address' },
      { name: 'code', value: 'CODE', doc: 'an authorisation code already in hand' },
      { name: 'redirect-uri', value: 'URL', doc: 'the redirect URI that the code was issued for' },
    ],
  },
  { ...MAYBE_NAME, name: 'logout', doc: 'forget the tokens of a login', flags: [] },
  {
    ...NO_ARGUMENTS,
    name: 'status',
    doc: 'show what the running gateway says about itself',
    more: 'Where clients are configured, status, login and logout need a client with admin = true: its secret is taken from the configuration, else from GCG_ADMIN_KEY.',
    flags: [JSON_FLAG],
  },
  {
    ...MAYBE_NAME,
    name: 'token',
    doc: 'print an access token, for scripts',
    flags: [{ name: 'show', doc: 'print it even to a terminal' }],
  },
  {
    name: 'client',
    arguments: 'add NAME',
    minArguments: 2,
    maxArguments: 2,
    doc: 'make a secret for a client of the gateway',
    more: 'Prints the secret once, and the configuration lines that hold only its hash.',
    flags: [],
  },
  { ...NO_ARGUMENTS, name: 'doctor', doc: 'look for what is wrong between here and Genesys Cloud', flags: [JSON_FLAG] },
  {
    ...NO_ARGUMENTS,
    name: 'healthcheck',
    doc: 'exit 0 when the running gateway is ready',
    flags: [{ name: 'timeout', value: 'DURATION', doc: 'how long an answer may take' }],
  },
  {
    ...NO_ARGUMENTS,
    name: 'wait',
    doc: 'block until the running gateway is ready',
    flags: [{ name: 'timeout', value: 'DURATION', doc: 'how long to wait at most (60 s)' }],
  },
  {
    name: 'completion',
    arguments: 'bash|zsh|fish',
    minArguments: 1,
    maxArguments: 1,
    doc: 'print a completion script for a shell',
    flags: [],
  },
] as const satisfies readonly CommandSpec[];

export type CommandName = (typeof COMMANDS)[number]['name'];

/** The commands that work. The others are not shown, and say so when they are tried. */
export const AVAILABLE: ReadonlySet<CommandName> = new Set<CommandName>([
  'init',
  'serve',
  'demo',
  'check',
  'config',
  'client',
  'doctor',
  'healthcheck',
  'login',
  'logout',
  'status',
  'token',
  'wait',
  'completion',
]);

/** A command by its name. */
export function findCommand(name: string): CommandSpec | undefined {
  return COMMANDS.find((command) => command.name === name);
}

/** Whether the word names a command at all. */
export function isCommandName(name: string): name is CommandName {
  return findCommand(name) !== undefined;
}
