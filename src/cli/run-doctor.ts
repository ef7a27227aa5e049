// Gives `gcg doctor` its real parts: configuration, egress, one attempt per credential. What is examined is doctor.ts.

import { createCredentials } from '../auth/credentials.ts';
import { createMemoryStore } from '../auth/store/memory.ts';
import { systemClock } from '../clock.ts';
import { loadConfig } from '../config/load.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { createOutbound } from '../outbound.ts';
import { VERSION } from '../version.ts';
import type { CommandLine } from './args.ts';
import { doctor } from './doctor.ts';
import { EXIT, type Io, loadInput, reportProblems } from './io.ts';

const SILENT: Log = { error() {}, warn() {}, info() {}, debug() {} };

/** The exit code of the examination, or 78 when there is no configuration to examine with. */
export async function runDoctor(args: CommandLine, io: Io): Promise<number> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  reportProblems(io, result.ok ? [] : result.problems, result.warnings);
  if (!result.ok) return EXIT.badConfig;
  const { config } = result;
  const deps = { clock: systemClock, random: Math.random, log: SILENT };
  const outbound = createOutbound(config, { ...deps, env: io.env as NodeJS.ProcessEnv });
  const credentials = createCredentials({ ...deps, config, store: createMemoryStore(deps), transport: outbound.transport });
  // Timers of ours do not keep a process alive: this one must live until the report is written.
  const alive = setInterval(() => {}, 60_000);
  try {
    return await doctor(args, io, {
      config,
      egress: outbound.egress,
      clock: systemClock,
      version: VERSION,
      obtainToken: ({ name }) => {
        const credential = credentials.get(name);
        if (!credential) throw new GatewayError('gateway.credential.unknown', `the credential ${name} is not configured`);
        return credential.source.token();
      },
    });
  } finally {
    clearInterval(alive);
    credentials.close();
    await outbound.close();
  }
}
