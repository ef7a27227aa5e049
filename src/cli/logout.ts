// `gcg logout [NAME]`: forgets the tokens of a login, through the running gateway or, without one, in the store. The platform is not told.

import { createAdminRequest, exitCodeOf } from './admin-request.ts';
import type { CommandLine } from './args.ts';
import { loadCredential } from './configured.ts';
import { EXIT, type Io } from './io.ts';
import { withOwnCredentials } from './own-credentials.ts';

/** 0 when nothing is kept any more; 69 when a gateway keeps it in memory and none answers; 77 when it wants an admin's secret. */
export async function logout(args: CommandLine, io: Io): Promise<number> {
  const found = loadCredential(args, io);
  if (typeof found === 'number') return found;
  const { config, credential } = found;
  const answer = await createAdminRequest(config, io)('POST', `/-/credentials/${credential.name}/logout`);
  if (answer?.error) {
    io.stderr.write(`gcg: ${answer.error.message}\n`);
    return exitCodeOf(answer.error);
  }
  if (answer === null && config.store.type === 'memory') {
    io.stderr.write('gcg: no gateway is running, and nothing is kept without one ([store] type is memory)\n');
    return EXIT.unavailable;
  }
  if (answer === null) {
    const code = await withOwnCredentials(config, io, async (credentials) => {
      await credentials.get(credential.name)?.logout();
      return EXIT.ok;
    });
    if (code !== EXIT.ok) return code;
  }
  io.stderr.write(`logged out: the tokens of ${credential.name} are forgotten here; Genesys Cloud was not told\n`);
  return EXIT.ok;
}
