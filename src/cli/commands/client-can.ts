// `gcg client can NAME METHOD PATH`: whether a client may make a call, what decides that, and with which credential it
// would be made. By the same rules as a running gateway; nothing is sent to Genesys Cloud.

import { METHODS } from 'node:http';
import { createAccess } from '../../auth/callers/access.ts';
import { ANONYMOUS } from '../../auth/callers/caller.ts';
import { NO_CLIENT } from '../../auth/callers/client-activity.ts';
import { Standing } from '../../auth/callers/standing.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { didYouMean, onOneLine, quote } from '../../config/problem.ts';
import { isGatewayError } from '../../errors.ts';
import { identifyOperation } from '../../operations/table.ts';
import { ClientRules, chooseCredential } from '../../server/authorize.ts';
import { isAnonymousServed } from '../../server/listener-plan.ts';
import { parseTarget } from '../../server/request-target.ts';
import { askStatus, createAdminRequest, loadOrReport } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';

/** What a call would come to. */
interface Outcome {
  readonly isAllowed: boolean;
  readonly words: string;
}

/** Exit code 0 where it may, 1 where not, 2 for what is no call or no client. `-` is a caller who is no client. */
export async function canCall(args: CommandLine, io: Io): Promise<number> {
  const [name = '', written = '', path = ''] = args.positionals;
  const config = loadOrReport(args, io, false);
  if (typeof config === 'number') return config;
  const client = name === NO_CLIENT ? null : config.clients.find((one) => one.name === name);
  const method = written.toUpperCase();
  const mistake =
    client === undefined
      ? unknownClient(name, config)
      : METHODS.includes(method)
        ? whyNoPath(path)
        : unknownMethod(written);
  if (client === undefined || mistake !== null) {
    io.stderr.write(`gcg: ${mistake}\n`);
    return EXIT.usage;
  }
  const isBlocked = client !== null && (await isBlockedNow(client.name, config, io));
  const { isAllowed, words } = judge(client, method, path, config, isBlocked);
  io.stdout.write(`${isAllowed ? 'yes' : 'no'}: ${onOneLine(words)}\n`);
  if (isAllowed && client !== null && client.from.length > 0)
    io.stdout.write(`     when it calls from ${client.from.join(', ')} (client.${client.name}.from)\n`);
  return isAllowed ? EXIT.ok : EXIT.failure;
}

function unknownClient(name: string, { clients }: GatewayConfig): string {
  const names = clients.map((one) => one.name);
  const there = names.length === 0 ? '; there is none' : `; there are: ${names.join(', ')}`;
  return `no client is called ${quote(name)}${didYouMean(name, names) || there}; - stands for a caller who is no client`;
}

function unknownMethod(written: string): string {
  return `${quote(written)} is no method${didYouMean(written.toUpperCase(), METHODS)}`;
}

function whyNoPath(path: string): string | null {
  return path.startsWith('/') ? null : `${quote(path)} is no path; write it like /api/v2/users, or /NAME/api/v2/users`;
}

/** Where a gateway runs, only it knows. */
async function isBlockedNow(name: string, config: GatewayConfig, io: Io): Promise<boolean> {
  const status = await askStatus(createAdminRequest(config, io));
  const { clients } = (status?.body ?? {}) as { clients?: readonly { name?: unknown; state?: unknown }[] };
  return Array.isArray(clients) && clients.some((one) => one?.name === name && one.state === 'blocked');
}

function judge(
  client: ClientConfig | null,
  method: string,
  path: string,
  config: GatewayConfig,
  isBlocked: boolean,
): Outcome {
  const reports: string[] = [];
  const rules = new ClientRules(config, { warn: (_fields, message) => void reports.push(message) });
  try {
    const route = parseTarget(path);
    if (route.kind !== 'forward')
      return { isAllowed: false, words: 'rules are for calls to /api/v2/…, and this is none of them' };
    const barred = client === null ? whyNobody(config) : whyBarred(client, isBlocked);
    if (barred !== null) return { isAllowed: false, words: barred };
    const operation = identifyOperation(method, route.target).id;
    const call = { method, target: route.target, headers: {}, record: null, operation };
    rules.assertPermitted(client, call);
    const named = new Map(config.credentials.map((one) => [one.name, { config: one, source: null as never }]));
    const choice = { credentials: named, access: createAccess(config), config };
    const credential = chooseCredential({ ...ANONYMOUS, client }, route.credential, choice).config.name;
    const rule = rules.allowedBy(client, call);
    const who = client === null ? 'a caller who is no client' : `client ${client.name}`;
    const why =
      reports.length > 0
        ? 'its rules would refuse it, and are only reported (mode = report)'
        : rule === null
          ? 'no rule denies it'
          : `${client === null ? 'server.anonymous_allow' : `client.${client.name}.allow`}: ${rule}`;
    return { isAllowed: true, words: `${who} may ${method} ${route.target} with credential ${credential} (${why})` };
  } catch (error) {
    if (!isGatewayError(error)) throw error;
    return { isAllowed: false, words: error.message };
  }
}

function whyNobody(config: GatewayConfig): string | null {
  if (isAnonymousServed(config)) return null;
  return 'with clients configured, all callers must prove who they are (server.anonymous_credentials is not set)';
}

/** Where it calls from is not known here, so its addresses do not count. */
function whyBarred(client: ClientConfig, isBlocked: boolean): string | null {
  const standing = new Standing([], { now: Date.now }, { has: () => isBlocked });
  return standing.whyBarred(client, null)?.message ?? null;
}
