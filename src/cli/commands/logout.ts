// `gcg logout [NAME]`: deletes the tokens of a login, in the running gateway or, without one, in the store. The
// platform is not told.

import { onOneLine } from '../../config/problem.ts';
import { exitCodeOf, findLoginTarget, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';
import { withStandaloneCredentials } from '../standalone.ts';

/** 0 when no token is left; 69 when tokens are kept in memory and no gateway answers; 77 without an admin's secret. */
export async function logout(args: CommandLine, io: Io): Promise<number> {
  const found = await findLoginTarget(args, io);
  if (typeof found === 'number') return found;
  const { config, credential } = found;
  if (found.kind === 'running') {
    const response = await found
      .ask('POST', `/-/credentials/${encodeURIComponent(credential.name)}/logout`)
      .catch(() => null);
    if (response === null || response.error !== null) {
      io.stderr.write(`gcg: ${response?.error ? refusal(response.error) : 'the gateway has stopped answering'}\n`);
      return response?.error ? exitCodeOf(response.error) : EXIT.unavailable;
    }
  } else if (config.store.type === 'memory') {
    io.stderr.write('gcg: no gateway is running, and nothing is kept without one ([store] type is memory)\n');
    return EXIT.unavailable;
  } else {
    const code = await withStandaloneCredentials(config, io, async (credentials) => {
      await credentials.get(credential.name)?.logout();
      return EXIT.ok;
    });
    if (code !== EXIT.ok) return code;
  }
  io.stderr.write(
    `logged out: the tokens of ${onOneLine(credential.name)} are forgotten here; Genesys Cloud was not told\n`,
  );
  return EXIT.ok;
}
