// `gcg token [NAME]`: an access token on stdout, for scripts. From the store, or by a grant of its own; never from the
// gateway, which gives none.

import { loadConfig } from '../../config/load.ts';
import { askStatus, createAdminRequest } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { loadCredential } from '../configured.ts';
import { EXIT, type Io, loadInput } from '../io.ts';
import { withOwnCredentials } from '../standalone.ts';

const SCHEME = 'Bearer ';

/**
 * 0 with the token and a line feed, 77 refused or nobody logged in, 69 unavailable, 2 for a terminal without --show.
 */
export async function token(args: CommandLine, io: Io): Promise<number> {
  if (io.isTTY && !args.flags.has('show')) {
    io.stderr.write('gcg: a token is a secret and stays in what a terminal scrolls by: pipe it, or say --show\n');
    return EXIT.usage;
  }
  const found = loadCredential(args, io);
  if (typeof found === 'number') {
    if (found === EXIT.badConfig) await tellOfRunning(args, io);
    return found;
  }
  return withOwnCredentials(found.config, io, async (credentials) => {
    const held = await credentials.get(found.credential.name)?.source.token();
    io.stdout.write(`${held?.authorization.slice(SCHEME.length)}\n`);
    return EXIT.ok;
  });
}

/** Where there is no configuration but a gateway runs, people expect that it is asked, as status and login do. */
async function tellOfRunning(args: CommandLine, io: Io): Promise<void> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  if (!result.ok || (await askStatus(createAdminRequest(result.config, io))) === null) return;
  io.stderr.write(
    'gcg: a gateway is running, but it gives its tokens to nobody: name its configuration with --config, or send ' +
      'your calls through it\n',
  );
}
