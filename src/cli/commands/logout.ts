// `gcg logout [NAME]`: forgets the tokens of a login, through the running gateway or, without one, in the store. The
// platform is not told.

import { onOneLine } from '../../config/problem.ts';
import { exitCodeOf, findSubject, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';
import { withOwnCredentials } from '../standalone.ts';

/**
 * 0 when nothing is kept any more; 69 when a gateway keeps it in memory and none answers; 77 when it wants an admin's
 * secret.
 */
export async function logout(args: CommandLine, io: Io): Promise<number> {
  const found = await findSubject(args, io);
  if (typeof found === 'number') return found;
  const { config, credential } = found;
  if (found.kind === 'running') {
    const answer = await found
      .ask('POST', `/-/credentials/${encodeURIComponent(credential.name)}/logout`)
      .catch(() => null);
    if (answer === null || answer.error !== null) {
      io.stderr.write(`gcg: ${answer?.error ? refusal(answer.error) : 'the gateway has stopped answering'}\n`);
      return answer?.error ? exitCodeOf(answer.error) : EXIT.unavailable;
    }
  } else if (config.store.type === 'memory') {
    io.stderr.write('gcg: no gateway is running, and nothing is kept without one ([store] type is memory)\n');
    return EXIT.unavailable;
  } else {
    const code = await withOwnCredentials(config, io, async (credentials) => {
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
