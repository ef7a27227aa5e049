// [client.NAME]: how a client authenticates and what it may do. Checks only the spelling of rules, not what they match.

import { hash } from 'node:crypto';
import { parseCertSubject } from '../../cert-subject.ts';
import type { SecretSource } from '../../secret.ts';
import { AddressBlocks, isAddressOrBlock } from '../address-blocks.ts';
import { daysUntil, EXPIRY_WARNING_DAYS } from '../certificates.ts';
import { boolean, choice, commaList, instant, integer, itemList, itemThat, secret, text } from '../option.ts';
import { didYouMean, quote } from '../problem.ts';
import { parseRule, whyMatchesNothing } from '../rule.ts';
import { Section, type SectionContext, type SectionReader, type SectionReport, type Values } from '../section.ts';
import type { CredentialConfig } from './credential.ts';
import type { ServerConfig } from './server.ts';

export const client = new Section(
  'client',
  'A caller with rights of its own. Once there is one, anonymous use ends, save where ' +
    'server.anonymous_credentials asks for it.',
  {
    secret: secret({
      example: 'CRM_GATEWAY_SECRET',
      doc:
        'The secret the client proves itself with: ASCII, and at least 16 characters where others can reach the ' +
        'gateway.',
    }),
    secret_sha256: commaList(null, {
      whenEmpty: 'give the SHA-256 of the secret in hex',
      example: '0000000000000000000000000000000000000000000000000000000000000000',
      doc: 'SHA-256 of the secret in hex, so the secret itself is not stored here; give two during rotation.',
    }),
    cert_subject: text(null, {
      example: 'CN=crm',
      doc: "The subject of the client's certificate; needs server.tls.client_ca_file.",
    }),
    credential: commaList(null, {
      whenEmpty: 'name a credential or leave the key out',
      defaultNote: 'the default credential',
      example: 'default',
      doc: 'The credentials it may use; the first is its default.',
    }),
    allow: itemList({
      item: (rule) => parseRule(rule, 'allow'),
      whenEmpty: 'give a rule or leave the key out',
      defaultNote: 'everything',
      example: 'GET /api/v2/users/**',
      doc: 'What it may call: METHOD[,METHOD] /path, an operation, @read-only or @no-delete. Once set, nothing else is allowed.',
      more:
        '* is one path segment or any method, ** is the rest of the path. Operations are named by getUsers, tag:Routing ' +
        'or permission:routing:queue:view, where * is any text.',
    }),
    deny: itemList({
      item: (rule) => parseRule(rule, 'deny'),
      whenEmpty: 'give a rule or leave the key out',
      example: 'DELETE /api/v2/**',
      doc: 'What it may not call; wins over allow.',
    }),
    mode: choice(['enforce', 'report'], 'enforce', { doc: 'report: only log what the rules would refuse.' }),
    admin: boolean('false', { doc: 'May use the admin listener.' }),
    inspect: choice(['none', 'own'], 'none', {
      doc: 'Which calls it may look at on the live page: none, or own. A client with admin sees all.',
    }),
    expires: instant({
      defaultNote: 'never',
      example: '2027-01-31',
      doc: 'When it ends: a date (to the end of that day, UTC) or an RFC 3339 time. Then its calls are refused.',
      more: 'Handles, sessions and sockets end with it. Warned of from 21 days before.',
    }),
    from: commaList(null, {
      item: itemThat(
        (item) => item === UNIX || isAddressOrBlock(item),
        'is neither an address nor a CIDR block; write 10.0.0.1, 10.0.0.0/8, or unix for Unix sockets',
      ),
      whenEmpty: 'name an address or leave the key out',
      defaultNote: 'anywhere',
      example: '10.0.0.0/8',
      doc: 'Addresses and CIDR blocks it may call from, and unix for Unix sockets; from elsewhere its proof is refused.',
      more: 'Behind a proxy of server.trusted_proxies the address is the one that X-Forwarded-For tells.',
    }),
    requests_per_minute: integer(null, {
      min: 1,
      max: 1_000_000,
      defaultNote: 'no limit of its own',
      example: '120',
      doc: 'Its share of the calls. Enforced only with rate_limit.mode = enforce.',
    }),
    requests_per_month: integer(null, {
      min: 1,
      max: 1_000_000_000,
      defaultNote: 'no budget',
      example: '100000',
      doc: 'Its budget of calls in a month (UTC). At 80 % and at the end there is a warning in the log.',
    }),
    over_budget: choice(['warn', 'refuse'], 'warn', {
      doc: 'What becomes of its calls beyond requests_per_month: warn (they go on) or refuse (403).',
    }),
  },
  { isNamed: true },
);

/** The word for Unix sockets in `from`. */
export const UNIX = 'unix';

type Reader = SectionReader<(typeof client)['options']>;

/** `[client.NAME]`. Hashes are in lower case; no credentials: the gateway's default one. */
export type ClientConfig = Omit<Values<typeof client>, 'credential' | 'admin' | 'expires'> & {
  readonly name: string;
  /** Names of credentials it may use; the first is its default. */
  readonly credentials: readonly string[];
  readonly isAdmin: boolean;
  /** Epoch ms; null: never. */
  readonly expiresAt: number | null;
  /** `file:line` (or env NAME) where it is configured, for messages. */
  readonly location: string;
};

/** What else of the configuration decides about clients. */
interface Besides {
  readonly credentials: readonly CredentialConfig[];
  readonly server: ServerConfig;
  readonly rateLimitMode: 'enforce' | 'report' | 'off';
  /** Epoch ms. */
  readonly now: number;
}

/** Shorter secrets can be guessed, although guesses are slowed down. */
const SHORTEST_SECRET = 16;

/** Reads all clients, in the order in which they are written. */
export function readClients(context: SectionContext, besides: Besides): ClientConfig[] {
  const { credentials, server, rateLimitMode, now } = besides;
  const proxies = new AddressBlocks(server.trustedProxies);
  const hasClientCa = server.tls !== null && server.tls.clientCaFile !== null;
  const known = credentials.map(({ name }) => name);
  const owners = new Map<string, string>();
  return context.settings.names('client').map(({ name, location }) => {
    const reader = client.reader(context, name, location);
    const secretSha256 = readHashes(reader);
    const certSubject = reader.get('cert_subject');
    if (certSubject !== null && !hasClientCa)
      reader.missing('cert_subject', 'needs server.tls.client_ca_file, else no caller shows a certificate');
    const secret = reader.get('secret');
    if (secret !== null) checkSecret(reader, secret);
    const identity = { name, secret, secretSha256, certSubject };
    checkUnlikeOthers(reader, identity, owners);
    if (!reader.isSet('secret') && !reader.isSet('secret_sha256') && certSubject === null) {
      reader.missing('secret', 'is missing; a client needs secret, secret_sha256 or cert_subject to prove itself');
    }
    if (reader.isSet('requests_per_minute') && rateLimitMode !== 'enforce') {
      const effect = rateLimitMode === 'off' ? 'has no effect' : 'is only reported';
      reader.warning('requests_per_minute', `${effect} with rate_limit.mode = ${rateLimitMode}`);
    }
    if (reader.isSet('over_budget') && reader.get('requests_per_month') === null)
      reader.warning('over_budget', 'has no effect without requests_per_month');
    const allowed = knownCredentials(reader.get('credential'), known, reader, 'credential');
    const { admin, expires, ...rest } = reader.values('secret', 'secret_sha256', 'cert_subject', 'credential');
    warnOfEnd(reader, expires, now);
    warnOfIdleRules(reader, { allow: rest.allow, deny: rest.deny });
    if (new AddressBlocks(rest.from.filter((item) => item !== UNIX)).meets(proxies))
      reader.warning('from', BESIDE_PROXIES);
    if (admin && server.adminListen.length === 0) reader.warning('admin', WITHOUT_ADMIN_LISTENER);
    return { ...identity, ...rest, credentials: allowed, isAdmin: admin, expiresAt: expires, location };
  });
}

const BESIDE_PROXIES =
  'holds addresses of server.trusted_proxies, and whoever calls from there may claim any address by X-Forwarded-For; ' +
  'name the callers alone, and in server.trusted_proxies the proxies alone';

const WITHOUT_ADMIN_LISTENER =
  'has no effect, since there is no admin listener; add server.admin_listen = 127.0.0.1:8081 (it counts after a restart)';

/** The day, in UTC, of the last moment before an end: the end of a day is the start of the next. */
export function lastDayOf(expiresAt: number): string {
  return new Date(Math.min(expiresAt - 1, 8.64e15)).toISOString().slice(0, 10);
}

/** Says that a client has ended or ends soon; null while there is time, or where there is no end. */
export function endWarning(expiresAt: number | null, now: number): string | null {
  if (expiresAt === null) return null;
  const date = lastDayOf(expiresAt);
  if (expiresAt <= now)
    return `was reached on ${date}: calls of this client are refused; move the date, or remove the client`;
  const days = daysUntil(expiresAt, now);
  if (days >= EXPIRY_WARNING_DAYS) return null;
  const left = days === 0 ? 'within a day' : days === 1 ? 'in 1 day' : `in ${days} days`;
  return `is reached ${left}, on ${date}: calls of this client are refused from then on; move the date if they should not be`;
}

function warnOfEnd(reader: Reader, expiresAt: number | null, now: number): void {
  const warning = endWarning(expiresAt, now);
  if (warning !== null) reader.warning('expires', warning);
}

/** Warns of rules that can match no call, by the key that they stand under. */
export function warnOfIdleRules(report: SectionReport, lists: Readonly<Record<string, readonly string[]>>): void {
  for (const [key, rules] of Object.entries(lists)) {
    for (const rule of rules) {
      const why = whyMatchesNothing(rule);
      if (why !== null) report.warning(key, why);
    }
  }
}

/** Checks that a secret can be sent in a header. Its length is checked with the listeners: it matters who can try. */
function checkSecret(reader: Reader, source: SecretSource): void {
  const secret = knownValue(source);
  if (secret === null) return;
  if (!/^[\x20-\x7e]*$/.test(secret)) {
    reader.problem(
      'secret',
      'holds characters other than ASCII, which Bearer and X-Gateway-Key cannot carry; use letters, digits and ' +
        'signs of ASCII',
    );
  } else if (secret !== secret.trim())
    reader.problem('secret', 'begins or ends with a blank, which a header does not carry; leave it out');
  else if (secret.startsWith('gcgh_'))
    reader.problem('secret', 'begins with gcgh_, as handles do, and would be taken for one; use another');
  else if (secret.startsWith('gcgp_'))
    reader.problem('secret', 'begins with gcgp_, as keys of the live page do, and would be taken for one; use another');
}

/** The clients whose secret, where it is known, is under 16 characters. */
export function shortSecrets(clients: readonly ClientConfig[]): readonly ClientConfig[] {
  return clients.filter(({ secret }) => {
    const value = secret === null ? null : knownValue(secret);
    return value !== null && isShortSecret(value);
  });
}

/** Whether a secret is short enough to be guessed. */
export function isShortSecret(secret: string): boolean {
  return secret.length < SHORTEST_SECRET;
}

const ADVICE = 'can be found by trying; `gcg client add` makes a good one';

/** What is wrong with a short secret; for a warning or a problem. */
export const SHORT_SECRET = `has under ${SHORTEST_SECRET} characters, and ${ADVICE}`;

function knownValue(source: SecretSource): string | null {
  try {
    return source.read().reveal();
  } catch {
    // Reported where secrets are read.
    return null;
  }
}

/** Adds a problem for a secret or certificate that two clients share: each would have the rights of the other. */
function checkUnlikeOthers(
  reader: Reader,
  { name, secret, secretSha256, certSubject }: Pick<ClientConfig, 'name' | 'secret' | 'secretSha256' | 'certSubject'>,
  owners: Map<string, string>,
): void {
  const value = secret === null ? null : knownValue(secret);
  const identities = [
    ...(value === null ? [] : [['secret', hash('sha256', value)] as const]),
    ...secretSha256.map((digest) => ['secret_sha256', digest] as const),
    ...(certSubject === null ? [] : [['cert_subject', parseCertSubject(certSubject)] as const]),
  ];
  for (const [key, identity] of identities) {
    const owner = owners.get(identity) ?? name;
    owners.set(identity, owner);
    if (owner !== name) reader.problem(key, `is also that of client ${owner}; each client needs one of its own`);
  }
}

/** The names without repetition; a problem is added for each that is no credential. */
export function knownCredentials(
  names: readonly string[],
  known: readonly string[],
  report: SectionReport,
  key: string,
): readonly string[] {
  const all = known.length === 0 ? '; there is none' : `; there is ${known.join(', ')}`;
  for (const name of names) {
    if (!known.includes(name))
      report.missing(key, `there is no credential ${quote(name)}${didYouMean(name, known) || all}`);
  }
  return [...new Set(names)];
}

function readHashes(reader: Reader): readonly string[] {
  const hashes = reader.get('secret_sha256');
  // Not shown: somebody may have put the secret itself here.
  if (hashes.some((hash) => !/^[0-9a-f]{64}$/i.test(hash)))
    reader.problem('secret_sha256', 'is not 64 hex digits; give the SHA-256 of the secret');
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  if (hashes.some((hash) => hash.toLowerCase() === empty))
    reader.problem('secret_sha256', 'is the SHA-256 of nothing; hash the secret itself');
  return hashes.map((hash) => hash.toLowerCase());
}
