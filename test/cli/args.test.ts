// The command line: commands, flags, help, and what a mistake is told.

import t from 'tap';
import { parseCommandLine } from '../../src/cli/args.ts';
import { COMMANDS, type CommandSpec } from '../../src/cli/command-table.ts';
import { EXIT } from '../../src/cli/io.ts';

const parse = (...argv: string[]) => parseCommandLine(argv);
const usageOf = (...argv: string[]) => {
  const parsed = parse(...argv);
  return parsed.kind === 'usage' ? parsed.message : `not refused: ${parsed.kind}`;
};
const helpOf = (...argv: string[]) => {
  const parsed = parseCommandLine(argv);
  return parsed.kind === 'help' ? parsed.text : '';
};

t.test('no command means serve', async (t) => {
  t.match(parse(), { kind: 'run', command: 'serve' });
  t.match(parse('--config', 'a.ini'), { kind: 'run', command: 'serve', overrides: { configPath: 'a.ini' } });
});

t.test('flags stand before or after the command, with = or a blank', async (t) => {
  for (const argv of [
    ['--config', 'a.ini', 'check', '--online'],
    ['check', '--online', '--config=a.ini'],
  ]) {
    const parsed = parse(...argv);
    t.match(parsed, { kind: 'run', command: 'check', overrides: { configPath: 'a.ini' } });
    t.equal(parsed.kind === 'run' && parsed.flags.get('online'), true);
  }
});

t.test('--set and the short forms become settings in the order given', async (t) => {
  const parsed = parse(
    '--set',
    'credential.crm.client_id=a=b',
    '--listen',
    '[::1]:1',
    '--host',
    'eu-west-1',
    '--log-level=debug',
    '--log-format',
    'text',
    '--set=server.listen=fd:3',
  );
  t.match(parsed, {
    overrides: {
      entries: [
        {
          section: 'credential.crm',
          key: 'client_id',
          value: { text: 'a=b' },
          location: 'flag --set credential.crm.client_id',
        },
        { section: 'server', key: 'listen', value: { text: '[::1]:1' }, location: 'flag --listen' },
        { section: 'general', key: 'host', value: { text: 'eu-west-1' } },
        { section: 'logging', key: 'log_level', value: { text: 'debug' } },
        { section: 'logging', key: 'log_format', value: { text: 'text' } },
        { section: 'server', key: 'listen', value: { text: 'fd:3' } },
      ],
    },
  });
});

t.test('arguments are counted', async (t) => {
  t.match(parse('login', 'crm'), { kind: 'run', command: 'login', positionals: ['crm'] });
  t.match(parse('client', 'add', 'crm'), { kind: 'run', positionals: ['add', 'crm'] });
  t.match(usageOf('client'), /client needs VERB/);
  t.match(usageOf('login', 'a', 'b'), /login takes only \[NAME\]/);
  t.match(usageOf('check', 'gcg.ini'), /check takes no argument/);
});

t.test('what is unknown is refused with the nearest', async (t) => {
  t.match(usageOf('chekc'), /no command "chekc"; did you mean "check"/);
  t.match(usageOf('check', '--onlin'), /there is no option --onlin; did you mean "--online"/);
  t.match(usageOf('serve', '--onlin'), /there is no option --onlin\n/, 'what only another command takes is no help');
  t.match(usageOf('--lisen', 'x'), /there is no option --lisen; did you mean "--listen"/);
  t.match(usageOf('check', '--json'), /check has no option --json/);
  t.match(usageOf('-x'), /no option -x/);
  t.match(usageOf('--__proto__'), /no option --__proto__/);
  t.match(usageOf('--set', 'server.listn=x'), /did you mean "listen"/);
  t.match(usageOf('check', '--onlin'), /\nTry gcg check --help\.\n$/);
  t.match(usageOf('--lisen', 'x'), /\nTry gcg --help\.\n$/);
});

t.test('what other programs call it leads to our name, where the command has it', async (t) => {
  t.match(usageOf('-v'), /no option -v; did you mean "--version"/);
  t.match(usageOf('version'), /no command "version"; did you mean "--version"/);
  t.match(usageOf('serve', '--port', '1'), /no option --port; did you mean "--listen"/);
  t.match(usageOf('-c', 'a.ini'), /did you mean "--config"/);
  t.match(usageOf('--constructor'), /no option --constructor\n/);
});

t.test('every example of a help is a command line of that command, and every exit code one of ours', async (t) => {
  const specs: readonly CommandSpec[] = COMMANDS;
  t.ok(specs.filter(({ examples }) => examples !== undefined).length > 8);
  for (const { name, examples = [], exits = [] } of specs) {
    for (const [line] of examples) {
      const words = (line.split(/ (?:\||>|&&) /)[0] ?? '').match(/'[^']*'|\S+/g) ?? [];
      t.match(parse(...words.map((word) => word.replaceAll("'", ''))), { kind: 'run', command: name }, line);
      t.match(helpOf('help', name), `\n  gcg ${line}\n`);
    }
    for (const [code] of exits) t.ok(Object.values(EXIT).map(String).includes(code), `${name} ${code}`);
  }
});

t.test('a value that is missing or too many is refused', async (t) => {
  t.match(usageOf('--config'), /--config needs FILE/);
  t.match(usageOf('--config', '--listen', 'x'), /--config needs FILE/);
  const doubtful = usageOf('login', '--code', '-4kQsecret');
  t.match(doubtful, /--code needs CODE; one that begins with - is written --code=CODE/);
  t.notMatch(doubtful, /4kQsecret/, 'it may be a code');
  t.match(usageOf('config', '--json=yes'), /--json is a switch/);
  t.match(parse('--config=-x'), { overrides: { configPath: '-x' } });
});

t.test('a secret on the command line is refused and not repeated', async (t) => {
  const message = usageOf('--set', 'credential.client_secret=hidden');
  t.match(message, /client_secret_file or credential\.client_secret_env/);
  t.notMatch(message, 'hidden');
});

t.test('every command is shown', async (t) => {
  for (const { name } of COMMANDS) t.match(helpOf('--help'), new RegExp(`^  ${name} `, 'm'));
});

t.test('help is there for gcg, for each command and for all settings, in 80 columns', async (t) => {
  for (const argv of [['--help'], ['-h'], ['help']])
    t.match(helpOf(...argv), /^gcg: .*Usage: gcg \[command\].*Exit codes.* 78 /s);
  for (const { name } of COMMANDS) {
    t.match(helpOf(name, '--help'), new RegExp(`^Usage: gcg ${name}`));
    t.equal(helpOf('help', name), helpOf(name, '-h'));
  }
  t.match(helpOf('help', 'settings'), /\[server\].*\n {2}listen /s);
  for (const text of [
    helpOf('--help'),
    helpOf('help', 'settings'),
    ...COMMANDS.map(({ name }) => helpOf('help', name)),
  ]) {
    t.strictSame(
      text.split('\n').filter((line) => line.length > 80),
      [],
    );
  }
  t.match(parseCommandLine(['help', 'setings']), { kind: 'usage', message: /did you mean "settings"/ });
});

t.test('--version is asked for anywhere', async (t) => {
  t.match(parse('--version'), { kind: 'version' });
  t.match(parse('check', '--version'), { kind: 'version' });
});

t.test('the same flag has the same shape in every command', async (t) => {
  const shapes = new Map<string, string>();
  for (const { flags } of COMMANDS) {
    for (const flag of flags) {
      const shape = 'value' in flag ? 'value' : 'switch';
      t.equal(shapes.get(flag.name) ?? shape, shape, flag.name);
      shapes.set(flag.name, shape);
    }
  }
});
