// [client.NAME]: how a client authenticates and what it may do. Checks only the spelling of rules, not what they match.

import { hash } from 'node:crypto';
import { METHODS } from 'node:http';
import { parseCertSubject } from '../../cert-subject.ts';
import type { SecretSource } from '../../secret.ts';
import { boolean, choice, commaList, integer, itemList, secret, text } from '../option.ts';
import { didYouMean, quote } from '../problem.ts';
import { Section, type SectionContext, type SectionReader, type SectionReport, type Values } from '../section.ts';
import { err, ok, type Parsed } from '../values.ts';
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
      doc: 'What it may call: METHOD[,METHOD] /path, @read-only or @no-delete. Once set, nothing else is allowed.',
      more: '* is one path segment or any method, ** is the rest of the path.',
    }),
    deny: itemList({
      item: (rule) => parseRule(rule, 'deny'),
      whenEmpty: 'give a rule or leave the key out',
      example: 'DELETE /api/v2/**',
      doc: 'What it may not call; wins over allow.',
    }),
    mode: choice(['enforce', 'report'], 'enforce', { doc: 'report: only log what the rules would refuse.' }),
    admin: boolean('false', { doc: 'May use the admin listener.' }),
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

type Reader = SectionReader<(typeof client)['options']>;

/** `[client.NAME]`. Hashes are in lower case; no credentials: the gateway's default one. */
export type ClientConfig = Omit<Values<typeof client>, 'credential' | 'admin'> & {
  readonly name: string;
  /** Names of credentials it may use; the first is its default. */
  readonly credentials: readonly string[];
  readonly isAdmin: boolean;
  /** `file:line` (or env NAME) where it is configured, for messages. */
  readonly location: string;
};

/** Names for sets of rules, in `allow`. */
const RULE_PRESETS: readonly string[] = ['@read-only', '@no-delete'];

/** What else of the configuration decides about clients. */
interface Besides {
  readonly credentials: readonly CredentialConfig[];
  readonly server: ServerConfig;
  readonly rateLimitMode: 'enforce' | 'report' | 'off';
}

/** Shorter secrets can be guessed, although guesses are slowed down. */
const SHORTEST_SECRET = 16;

/** Reads all clients, in the order in which they are written. */
export function readClients(context: SectionContext, { credentials, server, rateLimitMode }: Besides): ClientConfig[] {
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
    const { admin, ...rest } = reader.values('secret', 'secret_sha256', 'cert_subject', 'credential');
    return { ...identity, ...rest, credentials: allowed, isAdmin: admin, location };
  });
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

/** A rule with one blank between its parts. */
function parseRule(rule: string, key: 'allow' | 'deny'): Parsed<string> {
  const reason = refuseRule(rule, key);
  return reason === undefined ? ok(rule.replace(/\s+/, ' ')) : err(reason);
}

/** Why a rule cannot be used: `METHOD[,METHOD] /path`, or a preset in `allow`. undefined when it can. */
export function refuseRule(rule: string, key: 'allow' | 'deny'): string | undefined {
  if (rule.startsWith('@')) {
    if (!RULE_PRESETS.includes(rule))
      return `${quote(rule)} is not known${didYouMean(rule, RULE_PRESETS) || `; there is ${RULE_PRESETS.join(', ')}`}`;
    return key === 'deny' ? `${quote(rule)} says what is allowed; it belongs into allow` : undefined;
  }
  const [, methods, path] = /^(\S+)\s+(\S+)$/.exec(rule) ?? [];
  if (methods === undefined || path === undefined)
    return `${quote(rule)} is not a rule; write it like GET /api/v2/users/**`;
  if (!methods.split(',').every((method) => method === '*' || /^[A-Za-z]+$/.test(method))) {
    return `${quote(rule)}: ${quote(methods)} is not a list of methods; write it like GET,POST or *`;
  }
  // One that no request can have would look like a rule and protect nothing.
  const unknown = methods.split(',').find((method) => method !== '*' && !METHODS.includes(method.toUpperCase()));
  if (unknown !== undefined)
    return `${quote(rule)}: ${quote(unknown)} is not a method${didYouMean(unknown.toUpperCase(), METHODS)}`;
  if (!path.startsWith('/') || /[?#\\]/.test(path))
    return `${quote(rule)}: the path must begin with / and have no query`;
  const segments = path.slice(1).split('/');
  if (segments.some((segment) => segment === '.' || segment === '..'))
    return `${quote(rule)}: the path must not hold . or ..`;
  if (segments.slice(0, -1).includes('**'))
    return `${quote(rule)}: ** stands for the rest and must be the end of the path`;
  if (segments.some((segment) => segment.includes('*') && segment !== '*' && segment !== '**')) {
    return `${quote(rule)}: * stands for a whole segment`;
  }
  return undefined;
}
