// All commands. The code of each is loaded only when it is called, so that small commands start fast.

import { type Command, runCommandLine } from './command-line.ts';
import type { CommandName } from './command-table.ts';
import { type Io, processIo } from './io.ts';

/** The commands that serve. */
type ServingName = 'serve' | 'run' | 'demo';

const COMMANDS: Record<Exclude<CommandName, ServingName>, () => Promise<Command>> = {
  check: async () => {
    const [{ check }, { checkOnline }] = await Promise.all([
      import('./commands/check.ts'),
      import('./check-online.ts'),
    ]);
    return (args, io) => check(args, io, checkOnline);
  },
  config: async () => (await import('./commands/config.ts')).showConfig,
  advise: async () => (await import('./commands/advise.ts')).advise,
  audit: async () => (await import('./commands/audit.ts')).audit,
  client: async () => (await import('./commands/client.ts')).client,
  doctor: async () => (await import('./commands/doctor.ts')).runDoctor,
  init: async () => {
    const { askOnTerminal, init } = await import('./commands/init.ts');
    return (args, io) => init(args, io, askOnTerminal(), async (...given) => (await COMMANDS.check())(...given));
  },
  login: async () => (await import('./commands/login.ts')).login,
  logout: async () => (await import('./commands/logout.ts')).logout,
  open: async () => (await import('./commands/open.ts')).openPage,
  tail: async () => (await import('./commands/tail.ts')).tail,
  har: async () => (await import('./commands/har.ts')).har,
  replay: async () => (await import('./commands/replay.ts')).replay,
  explain: async () => (await import('./commands/explain.ts')).explain,
  status: async () => (await import('./commands/status.ts')).status,
  usage: async () => (await import('./commands/usage.ts')).usage,
  whoami: async () => (await import('./commands/whoami.ts')).whoami,
  token: async () => (await import('./commands/token.ts')).token,
  healthcheck: async () => (await import('./commands/healthcheck.ts')).healthcheck,
  wait: async () => (await import('./commands/healthcheck.ts')).wait,
  completion: async () => (await import('./commands/completion.ts')).completion,
};

/** Runs one command; resolves with the process's exit code. `serving` loads those that serve. */
export function run(
  argv: readonly string[],
  io: Io = processIo(),
  serving = async (_command: ServingName) => import('./serving.ts'),
): Promise<number> {
  return runCommandLine(argv, io, {
    ...COMMANDS,
    serve: async () => (await serving('serve')).SERVING.serve(),
    run: async () => (await serving('run')).SERVING.run(),
    demo: async () => (await serving('demo')).SERVING.demo(),
  });
}
