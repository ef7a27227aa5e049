// Reads [client.NAME]: how a caller proves itself and what it may do. The rules' matching is the server's; here only
// their spelling is checked.

import { hash } from 'node:crypto';
import { METHODS } from 'node:http';
import { parseCertSubject } from '../../cert-subject.ts';
import type { SecretSource } from '../../secret.ts';
import type { ClientConfig, CredentialConfig, GatewayConfig } from '../gateway-config.ts';
import { didYouMean, quote } from '../problem.ts';
import { createSectionReader, type ReaderContext, type SectionReader } from '../reader.ts';

/** Words that stand for a set of rules in `allow`. */
const RULE_PRESETS: readonly string[] = ['@read-only', '@no-delete'];

/** What else of the configuration decides about clients. */
interface Besides {
  readonly credentials: readonly CredentialConfig[];
  readonly hasClientCa: boolean;
  readonly rateLimitMode: GatewayConfig['rateLimit']['mode'];
}

/** Shorter secrets can be found by trying, slowed though tries are. */
const SHORTEST_SECRET = 16;

/** Reads all clients, in the order in which they are written. */
export function readClients(
  context: ReaderContext,
  { credentials, hasClientCa, rateLimitMode }: Besides,
): ClientConfig[] {
  const known = credentials.map(({ name }) => name);
  const assertUnlike = createComparison();
  return context.settings.names('client').map(({ name, location }) => {
    const reader = createSectionReader(context, 'client', name, location);
    const secretSha256 = readHashes(reader);
    const certSubject = reader.text('cert_subject');
    if (certSubject !== null && !hasClientCa)
      reader.missing('cert_subject', 'needs server.tls.client_ca_file, else no caller shows a certificate');
    const secret = reader.secret('secret');
    if (secret !== null) checkSecret(reader, secret);
    assertUnlike(reader, { name, secret, secretSha256, certSubject });
    if (!reader.isSet('secret') && !reader.isSet('secret_sha256') && certSubject === null) {
      reader.missing('secret', 'is missing; a client needs secret, secret_sha256 or cert_subject to prove itself');
    }
    if (reader.isSet('requests_per_minute') && rateLimitMode !== 'enforce') {
      const effect = rateLimitMode === 'off' ? 'has no effect' : 'is only reported';
      reader.warning('requests_per_minute', `${effect} with rate_limit.mode = ${rateLimitMode}`);
    }
    return {
      name,
      secret,
      secretSha256,
      certSubject,
      credentials: readCredentialNames(reader, 'credential', known),
      allow: readRules(reader, 'allow'),
      deny: readRules(reader, 'deny'),
      mode: reader.choice('mode', ['enforce', 'report']) ?? 'enforce',
      isAdmin: reader.boolean('admin'),
      requestsPerMinute: reader.maybeInteger('requests_per_minute'),
      location,
    };
  });
}

/**
 * A secret that no way of showing it carries as it is. Its length is judged where it is known who can try:
 * shortSecrets.
 */
function checkSecret(reader: SectionReader, source: SecretSource): void {
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

/** Whether a secret can be found by trying. */
export function isShortSecret(secret: string): boolean {
  return secret.length < SHORTEST_SECRET;
}

/** What is wrong with a short secret; for a warning or a problem. */
export const SHORT_SECRET = `has under ${SHORTEST_SECRET} characters, and can be found by trying; \`gcg client add\` makes a good one`;

function knownValue(source: SecretSource): string | null {
  try {
    return source.read().reveal();
  } catch {
    // A file that cannot be read now is told of where it is read first.
    return null;
  }
}

/** Two clients that are proved by the same could not be told apart: each would have the rights of the other. */
function createComparison() {
  const owners = new Map<string, string>();
  return (
    reader: SectionReader,
    { name, secret, secretSha256, certSubject }: Pick<ClientConfig, 'name' | 'secret' | 'secretSha256' | 'certSubject'>,
  ) => {
    const value = secret === null ? null : knownValue(secret);
    const proofs = [
      ...(value === null ? [] : [['secret', hash('sha256', value)] as const]),
      ...secretSha256.map((digest) => ['secret_sha256', digest] as const),
      ...(certSubject === null ? [] : [['cert_subject', parseCertSubject(certSubject)] as const]),
    ];
    for (const [key, proof] of proofs) {
      const owner = owners.get(proof) ?? name;
      owners.set(proof, owner);
      if (owner !== name) reader.problem(key, `is also that of client ${owner}; each client needs one of its own`);
    }
  };
}

/** A list of names of credentials; each must exist. */
export function readCredentialNames(reader: SectionReader, key: string, known: readonly string[]): readonly string[] {
  const names = reader.list(key);
  if (isEmpty(reader, key)) reader.problem(key, 'is empty; name a credential or leave the key out');
  for (const name of names) {
    if (!known.includes(name)) {
      reader.missing(
        key,
        `there is no credential ${quote(name)}${didYouMean(name, known) || `; there ${known.length === 0 ? 'is none' : `is ${known.join(', ')}`}`}`,
      );
    }
  }
  return [...new Set(names)];
}

function isEmpty(reader: SectionReader, key: string): boolean {
  return reader.isSet(key) && reader.setting(key)?.value.type !== 'broken' && reader.list(key).length === 0;
}

function readHashes(reader: SectionReader): readonly string[] {
  const hashes = reader.list('secret_sha256');
  if (isEmpty(reader, 'secret_sha256'))
    reader.problem('secret_sha256', 'is empty; give the SHA-256 of the secret in hex');
  // Not shown: somebody may have put the secret itself here.
  if (hashes.some((hash) => !/^[0-9a-f]{64}$/i.test(hash)))
    reader.problem('secret_sha256', 'is not 64 hex digits; give the SHA-256 of the secret');
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  if (hashes.some((hash) => hash.toLowerCase() === empty))
    reader.problem('secret_sha256', 'is the SHA-256 of nothing; hash the secret itself');
  return hashes.map((hash) => hash.toLowerCase());
}

function readRules(reader: SectionReader, key: 'allow' | 'deny'): readonly string[] {
  const rules = reader.list(key);
  if (isEmpty(reader, key)) reader.problem(key, 'is empty; give a rule or leave the key out');
  for (const rule of rules) {
    const reason = refuseRule(rule, key);
    if (reason !== undefined) reader.problem(key, reason);
  }
  return rules.map((rule) => rule.replace(/\s+/, ' '));
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
