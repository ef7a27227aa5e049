// `gcg token [NAME]`: prints an access token on stdout, for scripts. It comes from the store or from a grant of this
// process, never from the gateway, which gives none away.

import { loadConfig } from '../../config/load.ts';
import { askStatus, createAdminRequest, loadCredential } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput } from '../io.ts';
import { withStandaloneCredentials } from '../standalone.ts';

const SCHEME = 'Bearer ';

/**
 * 0 with the token and a line feed, 77 refused or nobody logged in, 69 unavailable, 2 for a terminal without --show.
 */
export async function token(args: CommandLine, io: Io): Promise<number> {
  if (io.isTTY && !args.flags.has('show')) {
    io.stderr.write('gcg: refusing to print a token to a terminal: pipe the output, or use --show\n');
    return EXIT.usage;
  }
  const found = loadCredential(args, io);
  if (typeof found === 'number') {
    if (found === EXIT.badConfig) await mentionRunningGateway(args, io);
    return found;
  }
  return withStandaloneCredentials(found.config, io, async (credentials) => {
    const token = await credentials.get(found.credential.name)?.source.token();
    io.stdout.write(`${token?.authorization.slice(SCHEME.length)}\n`);
    return EXIT.ok;
  });
}

/** Says that a running gateway gives no token: without a configuration people expect it to be asked, as by status. */
async function mentionRunningGateway(args: CommandLine, io: Io): Promise<void> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  if (!result.ok || (await askStatus(createAdminRequest(result.config, io))) === null) return;
  io.stderr.write(
    'gcg: a gateway is running, but it gives its tokens to nobody: name its configuration with --config, or send ' +
      'your calls through it\n',
  );
}
