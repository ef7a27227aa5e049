// `gcg client`: the life of a client. `add` and `rotate` make secrets and print the configuration lines that hold only
// their hashes; `revoke` blocks a client in the running gateway and says what to remove. No file is written.

import { hash, randomBytes } from 'node:crypto';
import { secretFingerprint } from '../../auth/callers/clients.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { refuseName } from '../../config/layers.ts';
import { loadConfig } from '../../config/load.ts';
import { onOneLine } from '../../config/problem.ts';
import { createAdminRequest, exitCodeOf, loadOrReport, noGatewayAt, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput } from '../io.ts';
import { canCall } from './client-can.ts';
import { fingerprintsOf, listClients } from './client-list.ts';

/** Returns a secret of 256 bits, with a prefix by which logs and secret scanners recognize it. */
export function createClientSecret(): string {
  return `gcgk_${randomBytes(32).toString('base64url')}`;
}

type Verb = (args: CommandLine, io: Io) => Promise<number>;

/** The verbs with the number of words that each takes. */
const VERBS: Readonly<Record<string, { readonly form: string; readonly words: number; readonly run: Verb }>> = {
  list: { form: 'list', words: 0, run: listClients },
  add: { form: 'add NAME', words: 1, run: addClient },
  rotate: { form: 'rotate NAME', words: 1, run: rotateSecret },
  revoke: { form: 'revoke NAME', words: 1, run: revokeClient },
  unblock: { form: 'unblock NAME', words: 1, run: unblockClient },
  can: { form: 'can NAME METHOD PATH', words: 3, run: canCall },
};

/** Exit code 2 for an unknown verb, or one with too many or too few words; else what the verb returns. */
export async function client(args: CommandLine, io: Io): Promise<number> {
  const [name = '', ...words] = args.positionals;
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (verb !== undefined && verb.words === words.length) return verb.run({ ...args, positionals: words }, io);
  const forms = (verb === undefined ? Object.values(VERBS) : [verb]).map(({ form }) => `gcg client ${form}`);
  io.stderr.write(`gcg: write it like ${forms.join(', ')}\n`);
  return EXIT.usage;
}

/** What the first client changes for everybody else. */
const FIRST =
  'It is the first client: from then on callers must show a secret, also on this machine (unless ' +
  'server.anonymous_credentials lets them call without),\n' +
  'and gcg status, tail, explain and open need a client with admin = true, and its secret in GCG_ADMIN_KEY.\n';

/**
 * Makes a secret for a new client. The configuration lines are all that stdout gets, so that `>> gcg.ini` is right; the
 * secret goes to stderr.
 */
async function addClient(args: CommandLine, io: Io): Promise<number> {
  const [name = ''] = args.positionals;
  if (isRefused(name, io)) return EXIT.usage;
  // The configuration may be another machine's, or still to be written: what is wrong with it is left to `check`.
  const loaded = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  const { files, clients } = loaded.ok ? loaded.config : loaded.readable().config;
  const known = clients.find((one) => one.name === name);
  const secret = createClientSecret();
  const file = files[0] ?? 'the configuration, gcg.ini';
  io.stderr.write(
    `secret: ${secret}\n\nIt is shown this once: give it to the application, which uses ${name} as its client id and ` +
      'this as its client secret.\n' +
      `The lines with its hash ${io.isTTY ? 'below' : 'went to stdout, and'} belong into ${file}: ` +
      'at its end is right.\n' +
      (known === undefined
        ? `Later: gcg client rotate ${name}, gcg client revoke ${name}.\n${clients.length === 0 ? FIRST : ''}\n`
        : `note: ${name} is a client already (${known.location}), and what it has stays good beside this: ` +
          `gcg client rotate ${name} says how to change a secret.\n\n`),
  );
  io.stdout.write(`\n[client.${name}]\nsecret_sha256[] = ${hash('sha256', secret)}\n`);
  return EXIT.ok;
}

/** Makes a second secret for a client that there is, and says how to move to it. */
async function rotateSecret(args: CommandLine, io: Io): Promise<number> {
  const found = loadClient(args, io);
  if (typeof found === 'number') return found;
  const { config, client: current } = found;
  const { name, secretSha256 } = current;
  const before = fingerprintsOf(current);
  const secret = createClientSecret();
  const digest = hash('sha256', secret);
  const fingerprint = secretFingerprint(digest) ?? '';
  const isJson = config.files[0]?.endsWith('.json') === true;
  const old = before.length === 0 ? 'its certificate' : before.join(', ');
  io.stderr.write(
    `secret: ${secret}\n\nIt is shown this once; both it and the old one (${old}) are good from then on:\n`,
  );
  const steps = [
    isJson
      ? `put the line below into "client": { "${name}": … } of ${config.files[0]}`
      : `add the lines below to ${config.files[0] ?? 'the configuration'}, also at its end (>> is right)` +
        (secretSha256.length > 0 ? '; a line there that says secret_sha256 = without [] needs the [] then' : ''),
    `give the secret to the application; gcg client list shows ${fingerprint} when it is used`,
    `when gcg client list shows that ${old} is no longer used, remove ${whatToRemove(current)}`,
  ];
  for (const [at, step] of steps.entries()) io.stderr.write(`  ${at + 1}. ${step}\n`);
  if (before.length > 1)
    io.stderr.write(`\n${name} has ${before.length} secrets already: remove those that are no longer used first.\n`);
  io.stderr.write('\n');
  io.stdout.write(
    isJson
      ? `"secret_sha256": ${JSON.stringify([...secretSha256, digest])}\n`
      : `\n[client.${name}]\nsecret_sha256[] = ${digest}\n`,
  );
  return EXIT.ok;
}

function whatToRemove({ name, secret, secretSha256, location }: ClientConfig): string {
  const hashes = secretSha256.map((digest) => `secret_sha256 … ${digest.slice(0, 8)}…`);
  const parts = [...(secret === null ? [] : [`secret (${secret.origin})`]), ...hashes];
  return parts.length === 0
    ? `cert_subject of client.${name} (${location})`
    : `${parts.join(', ')} of [client.${name}] (${location})`;
}

/** Blocks a client in the running gateway, and says what to remove for good. */
async function revokeClient(args: CommandLine, io: Io): Promise<number> {
  const found = loadClient(args, io);
  if (typeof found === 'number') return found;
  const { config, client: revoked } = found;
  const code = await changeBlock(config, io, revoked.name, 'block');
  io.stdout.write(
    `remove the section [client.${revoked.name}] (${revoked.location}), then nobody is that client any more\n`,
  );
  return code;
}

/** Lifts the block of a client, whether or not the configuration still has it. */
async function unblockClient(args: CommandLine, io: Io): Promise<number> {
  const [name = ''] = args.positionals;
  if (isRefused(name, io)) return EXIT.usage;
  const config = loadOrReport(args, io, false);
  return typeof config === 'number' ? config : changeBlock(config, io, name, 'unblock');
}

async function changeBlock(config: GatewayConfig, io: Io, name: string, verb: 'block' | 'unblock'): Promise<number> {
  const response = await createAdminRequest(config, io)('POST', `/-/clients/${name}/${verb}`).catch((error: Error) => {
    io.stderr.write(`gcg: ${onOneLine(error.message)}\n`);
    return 'failed' as const;
  });
  if (response === 'failed') return EXIT.unavailable;
  if (response === null) {
    io.stderr.write(`gcg: nothing was ${verb}ed: ${noGatewayAt(config)}\n`);
    return EXIT.unavailable;
  }
  if (response.error !== null) {
    io.stderr.write(`gcg: nothing was ${verb}ed: ${refusal(response.error)}\n`);
    return exitCodeOf(response.error);
  }
  const { survivesRestart } = response.body as { survivesRestart?: boolean };
  const kept = survivesRestart === false ? ', until the gateway ends (store.type = memory)' : '';
  io.stderr.write(
    verb === 'block'
      ? `blocked${kept}: ${name} is refused from now on, its sockets and sessions have ended; ` +
          `gcg client unblock ${name} lifts it\n`
      : `unblocked: ${name} may call again\n`,
  );
  return EXIT.ok;
}

/** The configuration and the client that is named; an exit code, after saying why, where there is none. */
function loadClient(args: CommandLine, io: Io): { config: GatewayConfig; client: ClientConfig } | number {
  const [name = ''] = args.positionals;
  const config = loadOrReport(args, io, false);
  if (typeof config === 'number') return config;
  const found = config.clients.find((one) => one.name === name);
  if (found !== undefined) return { config, client: found };
  const names = config.clients.map((one) => one.name).join(', ');
  const there = names === '' ? 'there is none; gcg client add NAME makes one' : `there are: ${names}`;
  io.stderr.write(`gcg: no client is called "${onOneLine(name)}"; ${there}\n`);
  return EXIT.usage;
}

/** Whether no client can have that name; says why. */
function isRefused(name: string, io: Io): boolean {
  const reason = refuseName(name);
  if (reason !== undefined) io.stderr.write(`gcg: ${reason}\n`);
  return reason !== undefined;
}
