// `gcg token [NAME]`: an access token on stdout, for scripts. From the store, or by a grant of its own; never from the gateway, which gives none.

import type { CommandLine } from './args.ts';
import { loadCredential } from './configured.ts';
import { EXIT, type Io } from './io.ts';
import { withOwnCredentials } from './own-credentials.ts';

const SCHEME = 'Bearer ';

/** 0 with the token and a line feed, 77 refused or nobody logged in, 69 unavailable, 2 for a terminal without --show. */
export async function token(args: CommandLine, io: Io): Promise<number> {
  if (io.isTTY && !args.flags.has('show')) {
    io.stderr.write('gcg: a token is a secret and stays in what a terminal scrolls by: pipe it, or say --show\n');
    return EXIT.usage;
  }
  const found = loadCredential(args, io);
  if (typeof found === 'number') return found;
  return withOwnCredentials(found.config, io, async (credentials) => {
    const held = await credentials.get(found.credential.name)?.source.token();
    io.stdout.write(`${held?.authorization.slice(SCHEME.length)}\n`);
    return EXIT.ok;
  });
}
