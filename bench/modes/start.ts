// From the start of a process to its first answer, and the two commands that scripts and containers run most, against
// a Node that does nothing.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Contestant, freePort, gatewayEnvironment, mainOf, Scene } from '../contestants.ts';
import { GATEWAY, Results } from '../measure.ts';
import { interleave, type Mode, type Sizes } from './mode.ts';

const TITLE =
  'start to first answer, and commands from start to end: CPU (user and system) of the process tree, and time; medians ' +
  'and quartiles';

/** CPU and time of a program that ends by itself, in ms. Bash tells what the system counted, to the millisecond. */
async function runToEnd(args: readonly string[], env: NodeJS.ProcessEnv) {
  const script = 'TIMEFORMAT="%3R %3U %3S"; time "$0" "$@" >/dev/null 2>&1';
  const { stderr } = await promisify(execFile)('bash', ['-c', script, process.execPath, ...args], {
    env: { PATH: process.env.PATH, LC_ALL: 'C', ...env },
  });
  const [wall = 0, user = 0, system = 0] = stderr.trim().split(' ').map(Number);
  return { cpu: (user + system) * 1000, wall: wall * 1000 };
}

async function run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]> {
  const columns = [
    { key: 'cpu', label: 'CPU ms', digits: 0, isCompared: true },
    { key: 'wall', label: 'ms', digits: 0, isCompared: true },
  ];
  const rounds = sizes.rounds ?? 15;
  const starts = new Results('start', `${rounds} interleaved rounds of ${TITLE}`, columns);
  const commands = new Results('command', 'commands, against a Node that runs an empty script', [
    ...columns,
    { key: 'ratio', label: 'CPU to bare Node', digits: 2 },
  ]);
  const scene = await Scene.open();
  try {
    // A gateway that healthcheck can ask.
    const ours = contestants.find(({ name }) => name === GATEWAY) as Contestant;
    const asked = await scene.start(ours);
    const env = { ...gatewayEnvironment(scene.place(await freePort())), HOME: scene.place(0).folder };
    const main = mainOf(new URL('../..', import.meta.url).pathname);
    const ask = { ...env, GCG_SERVER_LISTEN: `127.0.0.1:${asked.target.port}` };
    const started = contestants.filter(({ command }) => command !== null);
    await interleave(rounds, started, async (contestant) => {
      const running = await scene.start(contestant);
      starts.add(running.name, { cpu: running.started.cpuMs, wall: running.started.wallMs });
      await running.stop();
      if (contestant !== ours) return;
      const bare = await runToEnd(['-e', ''], env);
      commands.add('node -e ""', { ...bare, ratio: 1 });
      for (const [name, args] of [
        ['gcg --help', [main, '--help']],
        ['gcg healthcheck', [main, 'healthcheck']],
      ] as const) {
        const used = await runToEnd(args, ask);
        commands.add(name, { ...used, ratio: used.cpu / bare.cpu });
      }
    });
    await asked.stop();
  } finally {
    scene.close();
  }
  return [starts, commands];
}

export const start: Mode = { name: 'start', about: 'CPU and time to the first answer; --help and healthcheck', run };
