// The table of commands: what each does and which flags it takes. The command line is parsed by it, and help and shell
// completions are printed from it.

import { DEMO_FAULT_ROWS } from '../sandbox/demo-faults.ts';

/** One flag. `value` is the placeholder of its argument in help; without one the flag is a switch. */
export interface FlagSpec {
  readonly name: string;
  readonly value?: string;
  /** Repeated values are joined by commas to one list; `set` collects its own. */
  readonly isRepeatable?: true;
  /** One letter that means the same. */
  readonly letter?: string;
  readonly doc: string;
}

/** One command. `arguments` is the placeholder of its positional arguments in help. */
export interface CommandSpec {
  readonly name: string;
  readonly arguments: string;
  readonly minArguments: number;
  readonly maxArguments: number;
  /** Whether its arguments are a filter, in which words may begin with `-`. */
  readonly takesFilter?: true;
  /** Whether what stands behind `--` is another program, with its arguments. */
  readonly takesProgram?: true;
  /** One line. */
  readonly doc: string;
  readonly more?: string;
  /** Command lines, without `gcg`, and what each does. */
  readonly examples?: readonly (readonly [line: string, doc: string])[];
  /** Exit codes with a meaning of their own in this command. */
  readonly exits?: readonly (readonly [code: string, doc: string])[];
  readonly flags: readonly FlagSpec[];
  /** The possible values of a flag, for help. */
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
const READ_ONLY_FLAG: FlagSpec = { name: 'read-only', doc: 'let nobody change anything (server.read_only = true)' };
const NO_ARGUMENTS = { arguments: '', minArguments: 0, maxArguments: 0 } as const;
const MAYBE_NAME = { arguments: '[NAME]', minArguments: 0, maxArguments: 1 } as const;

/** All commands, in the order of the help. */
export const COMMANDS = [
  {
    ...NO_ARGUMENTS,
    name: 'serve',
    doc: 'run the gateway (the default command)',
    more:
      'Log records go to stdout. SIGTERM and SIGINT end it after the calls in progress, a second one at once; ' +
      'SIGHUP reloads the configuration.',
    examples: [
      ['serve --config gcg.ini', 'as the file says'],
      ['--listen 127.0.0.1:9090 --log-level debug', 'on another port, with debug logging'],
    ],
    exits: [
      ['69', 'cannot listen on an address'],
      ['78', 'the configuration, or the store it names, cannot be used'],
    ],
    flags: [READ_ONLY_FLAG],
  },
  {
    ...NO_ARGUMENTS,
    name: 'demo',
    doc: 'run the gateway with a simulated Genesys Cloud behind it',
    more:
      'Needs no file and no account: only flags count, neither files nor GCG_ variables. Prints curl lines to ' +
      'copy. Nothing goes wrong in the simulation unless you ask for it. With --config FILE it rehearses that ' +
      'configuration: its clients, rules, listeners and limits count; hosts, proxy, store and the secrets for Genesys ' +
      'Cloud are replaced, and what is replaced is printed.',
    flags: [
      { name: 'simulate', value: 'FAULTS', isRepeatable: true, doc: 'what goes wrong, as in rate-limit=60,slow' },
      READ_ONLY_FLAG,
    ],
    examples: [
      ['demo --listen 127.0.0.1:9090', 'on another port'],
      ['demo --simulate rate-limit=60', 'with a limit of 60 calls a minute'],
      ['demo --config gcg.ini --listen 127.0.0.1:9090', 'your own configuration, on a port for tests'],
    ],
    values: { title: 'Faults', rows: DEMO_FAULT_ROWS },
  },
  {
    name: 'run',
    arguments: '-- COMMAND',
    minArguments: 0,
    maxArguments: 0,
    takesProgram: true,
    doc: 'run a command with a gateway of its own, for CI and cron',
    more:
      'The gateway listens on a free port of 127.0.0.1, whatever listeners are configured, and ends with the command. ' +
      'The command starts once every required credential has a token, and finds the gateway in GATEWAY_URL. gc and ' +
      "Genesys' Terraform provider find it by themselves. No secret of the gateway is in its environment. Signals are " +
      'passed on to it, and its exit code is that of gcg: 128 and the number of a signal that ended it, 127 where there ' +
      'is no such command. Records of calls are written only with --log-level, to stderr, or to the configured file.',
    examples: [
      ['run -- npm test', 'with ./gcg.ini'],
      ['run --config ci.ini -- terraform apply', ''],
      ["run -- sh -c 'curl $GATEWAY_URL/api/v2/users/me'", ''],
    ],
    exits: [
      ['69', 'not ready in time, or no port was free: the command was not started'],
      ['77', 'a credential is refused, or a person must log in: the command was not started'],
    ],
    flags: [{ name: 'timeout', value: 'DURATION', doc: 'how long to wait for a token at most (60 s)' }, READ_ONLY_FLAG],
  },
  {
    ...NO_ARGUMENTS,
    name: 'init',
    doc: 'write a configuration, by asking or from flags',
    more:
      'Asks on a terminal for what no flag says. The client secret is never a flag: it is asked for, or the file ' +
      'names the variable GENESYSCLOUD_OAUTHCLIENT_SECRET in its place. Says which redirect URI to register, and on a ' +
      'terminal offers to try the credential.',
    examples: [
      ['init --host eu-central-1 --client-id ID', 'client credentials, without questions about these two'],
      ['init --grant-type pkce --client-id ID', 'for a person who logs in'],
      ['init --from-gc --output config.ini', 'from ~/.gc/config.toml'],
    ],
    exits: [['1', 'the file is there already, or cannot be written']],
    flags: [
      { name: 'from-gc', doc: "import the profiles of Genesys' own CLI (~/.gc/config.toml, else ./config.toml)" },
      { name: 'output', value: 'FILE', doc: 'the file to write (gcg.ini)' },
      { name: 'force', doc: 'replace the file if it is there' },
      {
        name: 'grant-type',
        value: 'GRANT',
        doc: 'how tokens are obtained: client_credentials, authorization_code, pkce, saml2_bearer or implicit',
      },
      { name: 'client-id', value: 'ID', doc: 'the OAuth client id' },
      { name: 'redirect-uri', value: 'URL', doc: 'the redirect URI registered with the OAuth client' },
      { name: 'org-name', value: 'NAME', doc: 'the short name of the organisation, for saml2_bearer' },
    ],
  },
  {
    ...NO_ARGUMENTS,
    name: 'check',
    doc: 'read the configuration and report all that is wrong with it',
    more:
      'Opens no listener. Each problem is one line with file and line number. With --online also obtains a token ' +
      'for each credential and calls GET /api/v2/tokens/me with it.',
    examples: [
      ['check', 'the file that gcg would use'],
      ['check --online --config gcg.ini', 'and whether Genesys Cloud takes it'],
    ],
    exits: [
      ['69', 'with --online: Genesys Cloud cannot be reached, or answers something else'],
      ['77', 'with --online: it refuses a credential, or a person must log in'],
    ],
    flags: [{ name: 'online', doc: 'also obtain a token for each credential and try it' }],
  },
  {
    ...NO_ARGUMENTS,
    name: 'config',
    doc: 'show the effective configuration and where each value came from',
    more:
      'Each line is a setting that has a value, and behind # its origin: default, file and line, variable or flag, ' +
      'or the setting it follows from. Secrets are masked.',
    examples: [
      ['config', 'what is in use, and why'],
      ['config --schema > config.schema.json', 'for an editor'],
    ],
    flags: [JSON_FLAG, { name: 'schema', doc: 'print the JSON Schema of the configuration instead' }],
  },
  {
    ...MAYBE_NAME,
    name: 'login',
    doc: 'log in with a browser, for credentials that need a user login',
    more:
      'NAME is a credential; without it, the default one, or the only one with a login. A running gateway is ' +
      'asked, also where there is no configuration; without one the login ends in the file store.',
    examples: [
      ['login', 'opens a browser, and prints the address too'],
      ['login crm --paste', 'over SSH: log in elsewhere, paste the last address here'],
    ],
    exits: [
      ['69', 'no gateway runs, and without one the login would be lost'],
      ['77', 'the login was refused, or the gateway wants GCG_ADMIN_KEY'],
    ],
    flags: [
      { name: 'paste', doc: 'for machines without a browser: paste the final address' },
      { name: 'code', value: 'CODE', doc: 'an authorization code you already have' },
      { name: 'redirect-uri', value: 'URL', doc: 'the redirect URI that the code was issued for' },
    ],
  },
  {
    ...MAYBE_NAME,
    name: 'logout',
    doc: 'forget the tokens of a login',
    more:
      'In the running gateway, or without one in the file store. NAME as in login. Genesys Cloud is not told, and ' +
      'the tokens stay good there until they end, unless --revoke is given.',
    examples: [
      ['logout', 'of the default login, or the only one'],
      ['logout --all --revoke', 'of every login, and Genesys Cloud ends their tokens'],
    ],
    exits: [['69', 'no gateway runs and nothing is kept without one, or Genesys Cloud did not end a token']],
    flags: [
      { name: 'all', doc: 'every login; without a running gateway also the kept tokens of services' },
      { name: 'revoke', doc: 'also end the token at Genesys Cloud' },
    ],
  },
  {
    ...NO_ARGUMENTS,
    name: 'status',
    doc: 'show what the running gateway says about itself',
    more:
      'Asks the admin listener of the configuration, 127.0.0.1:8080 if nothing is said, also where the configuration ' +
      'has been broken since. Where clients are ' +
      'configured, status, login and logout need a client with admin = true: its secret is taken from the ' +
      'configuration, else from GCG_ADMIN_KEY.',
    examples: [['status --listen 127.0.0.1:9090', 'of a gateway that was started there']],
    exits: [
      ['0', 'the gateway answered, whatever its state'],
      ['69', 'none is running there'],
      ['77', 'it wants the secret of a client with admin = true'],
      ['78', 'none is running there, and the configuration is wrong'],
    ],
    flags: [JSON_FLAG],
  },
  {
    name: 'tail',
    arguments: '[FILTER…]',
    minArguments: 0,
    maxArguments: 32,
    takesFilter: true,
    doc: 'show calls as they are made, with why they failed',
    more:
      'Asks the running gateway, as status does. One line a call; below one that failed, who failed it and what to ' +
      'do. In a pipe, JSON lines. A FILTER is like status:5xx client:etl -path:/users/** (docs/troubleshooting.md). It ' +
      'goes on for ever, also over restarts of the gateway; what was missed is told on stderr.',
    examples: [
      ['tail', 'the last 20, and those to come'],
      ["tail 'status:5xx OR ms:>2s' --since 1h", 'faults and slow calls of the last hour, and those to come'],
      ['tail --failures --no-follow -n 5', 'the last five that failed'],
      ['tail --json client:etl | jq .path', 'for programs'],
    ],
    exits: [
      ['69', 'no gateway is running there'],
      ['77', 'it shows calls to others only'],
    ],
    flags: [
      { name: 'lines', letter: 'n', value: 'N', doc: 'how many of the calls before (20)' },
      { name: 'since', value: 'TIME', doc: 'all calls since then: 5m, 2h, 2026-11-28T14:00Z' },
      { name: 'failures', doc: 'only calls that failed' },
      { name: 'no-follow', doc: 'end with the last call that was made' },
      JSON_FLAG,
    ],
  },
  {
    name: 'explain',
    arguments: 'ID|last',
    minArguments: 1,
    maxArguments: 1,
    doc: 'say why a call failed, what to do, and where its time went',
    more:
      'ID is the request id (X-Gateway-Request-Id of the answer, or in the log) or the number of a call that the ' +
      'running gateway still keeps, or the address in X-Gateway-Explain-Url; last is the last one that failed.',
    examples: [['explain last', '']],
    exits: [
      ['1', 'no such call is kept'],
      ['69', 'no gateway is running there'],
      ['77', 'it shows calls to others only'],
    ],
    flags: [
      JSON_FLAG,
      { name: 'markdown', doc: 'print Markdown, for a ticket' },
      {
        name: 'as',
        value: 'FORM',
        doc: 'print it as something to run: curl, powershell, httpie, fetch, javascript, python, java, dotnet, go',
      },
    ],
  },
  {
    name: 'replay',
    arguments: 'ID',
    minArguments: 1,
    maxArguments: 1,
    doc: 'make a call again, as the caller that made it',
    more:
      'Asks the running gateway, as tail does. ID is the request id or the number of a call that it still keeps. It is ' +
      'made by the rights that its caller has now; what came of it is explained and compared. [inspector] replay says ' +
      'which calls may be made again (docs/inspector.md).',
    examples: [
      ['replay 4711', 'a call that reads'],
      ["replay 4711 --confirm 'DELETE /api/v2/users/x'", 'one that changes something: with the call itself'],
    ],
    exits: [
      ['1', 'it failed again, is not kept, or cannot be made again'],
      ['69', 'no gateway is running there'],
      ['77', 'it lets others do that'],
    ],
    flags: [
      JSON_FLAG,
      { name: 'confirm', value: 'CALL', doc: 'METHOD path, for a call that may change something' },
      { name: 'anyway', doc: 'also while a limit that it counts for is paused' },
    ],
  },
  {
    name: 'har',
    arguments: '[FILTER…]',
    minArguments: 0,
    maxArguments: 32,
    takesFilter: true,
    doc: 'write calls into a file that can be given away (HTTP Archive, without secrets)',
    more:
      'Asks the running gateway, as tail does. Each secret is replaced by [redacted~…], equal ones by equal marks, and ' +
      'the file is searched for secrets before it is written: where one is found there is no file. Browsers open it ' +
      '(docs/inspector.md).',
    examples: [
      ["har 'status:>=400' --since 1h -o calls.har", 'the failures of the last hour'],
      ['har --id 3f6c… -o call.har', 'one call, with the settings that touch it'],
      ["har --which '[redacted~EE8R557DP4]'", 'which secret in use a mark in such a file stands for'],
    ],
    exits: [
      ['1', 'no such call is kept, or the mark is of no secret in use'],
      ['69', 'no gateway is running there'],
      ['77', 'it shows calls to others only'],
    ],
    flags: [
      { name: 'output', letter: 'o', value: 'FILE', doc: 'the file; without it stdout' },
      { name: 'since', value: 'TIME', doc: 'calls since then: 5m, 2h, 2026-11-28T14:00Z' },
      { name: 'id', value: 'ID', isRepeatable: true, doc: 'this call, by number or request id; may be repeated' },
      { name: 'bodies', value: 'WHAT', doc: 'bodies that were captured: none, shape, full (none)' },
      { name: 'scope', value: 'SCOPE', doc: 'run: marks can be compared with those of other such files (file)' },
      { name: 'which', value: 'MARK', doc: 'write no file, and say what the mark stands for' },
      { name: 'yes', doc: 'with --bodies full: personal data may be in the file' },
    ],
  },
  {
    ...NO_ARGUMENTS,
    name: 'open',
    doc: 'open the live page of the running gateway',
    more:
      'Makes a link that opens the page once, within a minute, and shows it to a browser; prints it where there is none. ' +
      'Where clients are configured it takes the secret of one with admin, as status does; else the key that the ' +
      'gateway has written for the user who runs it.',
    examples: [['open --print', 'only the link, for another program']],
    exits: [
      ['69', 'no gateway is running there'],
      ['77', 'it takes another user, or the secret of a client with admin = true'],
    ],
    flags: [{ name: 'print', doc: 'print the link and open nothing' }],
  },
  {
    ...NO_ARGUMENTS,
    name: 'usage',
    doc: 'show how many requests went to Genesys Cloud in a month',
    more:
      'By client, credential and operation, as the running gateway counted them: each request that was sent, further ' +
      'attempts included, in months of UTC. Asks the admin listener, as status does.',
    examples: [['usage --month 2026-11', 'of another month']],
    exits: [
      ['69', 'no gateway is running there'],
      ['77', 'it wants the secret of a client with admin = true'],
    ],
    flags: [JSON_FLAG, { name: 'month', value: 'MONTH', doc: 'the month, like 2026-11 (the present one)' }],
  },
  {
    ...NO_ARGUMENTS,
    name: 'advise',
    doc: 'show the least permissions that the calls seen so far need',
    more:
      'For each credential: what its role needs at least, what it lacks, and what it is granted and does not use; ' +
      'deprecated and preview operations that are still called, and by whom. As the running gateway counted them, or ' +
      'from its log. Declared permissions are a floor: the platform may check more.',
    examples: [
      ['advise', 'of the running gateway'],
      ['advise --from gateway.log --client crm', 'what one client did, by the log'],
      ['advise --credential default --role', 'a role for POST /api/v2/authorization/roles'],
    ],
    exits: [
      ['1', 'no calls were seen, or the log cannot be read'],
      ['69', 'no gateway is running there'],
      ['77', 'it wants the secret of a client with admin = true'],
    ],
    flags: [
      JSON_FLAG,
      {
        name: 'from',
        value: 'FILE',
        doc: "a log of JSON lines, - for standard input, in place of the gateway's counts",
      },
      { name: 'client', value: 'CLIENT', doc: 'only what this client called' },
      { name: 'credential', value: 'CREDENTIAL', doc: 'only what was called with this credential' },
      { name: 'role', doc: "print a role as the platform's API takes it" },
      { name: 'terraform', doc: "print a role for Genesys' Terraform provider" },
    ],
  },
  {
    ...MAYBE_NAME,
    name: 'whoami',
    doc: 'show the organisation, the user and the OAuth client behind each credential',
    more:
      'The running gateway is asked; without one each credential is tried, with a token from the store or by a grant ' +
      'of its own. NAME is a credential; without it, all of them.',
    examples: [['whoami crm --json', 'the ids, too']],
    exits: [
      ['69', 'Genesys Cloud cannot be reached, or did not say'],
      ['77', 'a credential was refused, or a person must log in'],
    ],
    flags: [JSON_FLAG],
  },
  {
    ...MAYBE_NAME,
    name: 'token',
    doc: 'print an access token, for scripts',
    more:
      'From the store, or by a grant of its own; a running gateway gives none. NAME is a credential; without it, ' +
      'the default one.',
    examples: [['token crm | some-program', 'a token of the credential crm']],
    exits: [
      ['2', 'stdout is a terminal, and --show was not given'],
      ['77', 'the credential was refused, or a person must log in'],
    ],
    flags: [{ name: 'show', doc: 'print it even to a terminal' }],
  },
  {
    name: 'client',
    arguments: 'VERB [NAME] …',
    minArguments: 1,
    maxArguments: 4,
    doc: 'the clients of the gateway: list, add, rotate, revoke, unblock, can',
    more:
      'Writes no file. add and rotate print a secret once, on stderr, and on stdout the configuration lines that hold ' +
      'only its hash. list, revoke and unblock ask the running gateway, as status does. NAME - is a caller who is no ' +
      'client.',
    examples: [
      ['client list', 'who was last seen when, and with which secret; --json for programs'],
      ['client add crm >> gcg.ini', 'a client called crm; the secret is shown on the terminal'],
      ['client rotate crm', 'a second secret, and how to move to it'],
      ['client revoke crm', 'blocks crm in the running gateway, and says what to remove'],
      ['client unblock crm', 'lifts that block'],
      ['client can crm DELETE /api/v2/users/x', 'whether it may, and which rule decides; exit code 0 or 1'],
    ],
    exits: [
      ['1', 'can: it may not'],
      ['69', 'revoke, unblock: no gateway runs'],
      ['77', 'revoke, unblock: the gateway wants the secret of a client with admin = true'],
    ],
    flags: [JSON_FLAG],
  },
  {
    name: 'audit',
    arguments: 'verify FILE…',
    minArguments: 2,
    maxArguments: 10_000,
    doc: 'check that an audit trail is whole',
    more:
      'Each line of a trail ([audit] file) names the hash of the line before: what was changed, dropped, added or ' +
      'moved is named with its file and line. Takes the files of a rotation together, in any order, compressed or ' +
      'not. Lines that were cut off the end leave no trace in the files: give a head that the log told to --expect.',
    examples: [
      ['audit verify /var/log/gcg/audit.jsonl*', 'with the files that were rotated'],
      ['audit verify audit.jsonl --expect HASH', 'and with a head from the log ("audit head")'],
    ],
    exits: [['1', 'it is not whole, or a file cannot be read']],
    flags: [
      JSON_FLAG,
      { name: 'from', value: 'HASH', doc: 'the hash of the line before the first: files before it were put away' },
      { name: 'expect', value: 'HASH', isRepeatable: true, doc: 'the hash of a line that must be there' },
    ],
  },
  {
    ...NO_ARGUMENTS,
    name: 'doctor',
    doc: 'diagnose the connection to Genesys Cloud',
    more:
      'Corporate proxy, DNS, connection, certificates, region, clock, a token for each credential and one harmless ' +
      'call; the collector of spans, where one is configured. The report holds no secret and is fit for a ticket.',
    exits: [
      ['1', "only this machine's clock is wrong"],
      ['69', 'Genesys Cloud, the proxy before it, or the collector of spans is unreachable or failing'],
      ['77', 'a credential is refused, or a person must log in'],
    ],
    flags: [JSON_FLAG],
  },
  {
    ...NO_ARGUMENTS,
    name: 'healthcheck',
    doc: 'exit 0 when the running gateway is ready',
    more: 'Asks GET /readyz once, at the health listener where there is one: for containers without curl.',
    exits: [
      ['1', 'it is not ready, or nothing answers'],
      ['78', 'nothing answers, and the configuration is wrong'],
    ],
    flags: [{ name: 'timeout', value: 'DURATION', doc: 'how long an answer may take (3 s)' }],
  },
  {
    ...NO_ARGUMENTS,
    name: 'wait',
    doc: 'block until the running gateway is ready',
    more: 'For start scripts, and for services that start after the gateway. Says on stderr what it waits for.',
    examples: [
      ['wait --timeout 2m && ./app', 'an application that needs the gateway'],
      ['wait --fail-fast', 'in CI: a wrong secret ends it at once'],
    ],
    exits: [
      ['1', 'it was not ready in time'],
      ['69', 'with --fail-fast: something else answers there'],
      ['77', 'with --fail-fast: a credential is refused, or a person must log in'],
      ['78', 'the configuration is wrong and no gateway answers; with --fail-fast at once'],
    ],
    flags: [
      { name: 'timeout', value: 'DURATION', doc: 'how long to wait at most (60 s)' },
      { name: 'fail-fast', doc: 'do not wait for what waiting does not mend' },
    ],
  },
  {
    name: 'completion',
    arguments: 'bash|zsh|fish',
    minArguments: 1,
    maxArguments: 1,
    doc: 'print a completion script for a shell',
    examples: [
      ['completion bash > ~/.local/share/bash-completion/completions/gcg', ''],
      ['completion zsh > ~/.zfunc/_gcg', 'where ~/.zfunc is in $fpath'],
      ['completion fish > ~/.config/fish/completions/gcg.fish', ''],
    ],
    flags: [],
  },
] as const satisfies readonly CommandSpec[];

export type CommandName = (typeof COMMANDS)[number]['name'];

/** A command by its name. */
export function findCommand(name: string): (CommandSpec & { readonly name: CommandName }) | undefined {
  return COMMANDS.find((command) => command.name === name);
}
