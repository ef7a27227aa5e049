// `gcg client add NAME`: generates a local secret for an application. Prints it once, with the configuration lines that
// hold only its hash. Reads and writes no file: the secret is stored nowhere.

import { hash, randomBytes } from 'node:crypto';
import { refuseName } from '../../config/layers.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';

/** Returns a secret of 256 bits, with a prefix by which logs and secret scanners recognize it. */
export function createClientSecret(): string {
  return `gcgk_${randomBytes(32).toString('base64url')}`;
}

/** Exit code 0, or 2 for another verb than `add` and for an invalid name. */
export async function client(args: CommandLine, io: Io): Promise<number> {
  const [verb, name = ''] = args.positionals;
  if (verb !== 'add') {
    io.stderr.write('gcg: write it like gcg client add NAME\n');
    return EXIT.usage;
  }
  const reason = refuseName(name);
  if (reason !== undefined) {
    io.stderr.write(`gcg: ${reason}\n`);
    return EXIT.usage;
  }
  const secret = createClientSecret();
  io.stdout.write(`secret: ${secret}\n\n[client.${name}]\nsecret_sha256[] = ${hash('sha256', secret)}\n`);
  io.stderr.write(
    `\nThe secret is shown this once: give it to the application, which uses ${name} as its client id and this as ` +
      `its client secret.\n` +
      'Put the two lines of [client] into the configuration; they hold only a hash. To change the secret later, ' +
      'add a second\n' +
      'secret_sha256[] line beside the first, move the application, then remove the old line.\n',
  );
  return EXIT.ok;
}
