// Gives `gcg doctor` its real parts: configuration, egress, one attempt per credential. What is examined is doctor.ts.

import type { Credentials } from '../auth/credentials/credentials.ts';
import { systemClock } from '../clock.ts';
import { loadConfig } from '../config/load.ts';
import { GatewayError } from '../errors.ts';
import type { Outbound } from '../upstream/upstream.ts';
import { VERSION } from '../version.ts';
import type { CommandLine } from './args.ts';
import { doctor } from './doctor.ts';
import { EXIT, type Io, loadInput, reportProblems } from './io.ts';
import { withOwnCredentials } from './own-credentials.ts';

/** The exit code of the examination, or 78 when there is no configuration to examine with. */
export async function runDoctor(args: CommandLine, io: Io): Promise<number> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  reportProblems(io, result.ok ? [] : result.problems, result.warnings);
  if (!result.ok) return EXIT.badConfig;
  const { config } = result;
  const examine = (credentials: Credentials, { egress }: Outbound) =>
    doctor(args, io, {
      config,
      egress,
      clock: systemClock,
      version: VERSION,
      obtainToken: ({ name }) => {
        const credential = credentials.get(name);
        if (!credential) throw new GatewayError('gateway.credential.unknown', `the credential ${name} is not configured`);
        return credential.source.token();
      },
    });
  return withOwnCredentials(config, io, examine, { isTrial: true });
}
