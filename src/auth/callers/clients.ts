// The configured clients and how each is authenticated: by secret, by name and secret, by certificate; and the header
// in which a request carries them. Secrets are compared by SHA-256 in constant time.

import { hash, timingSafeEqual } from 'node:crypto';
import { isCertificateBelieved, isCertificateFingerprint, parseCertSubject } from '../../cert-subject.ts';
import type { Clock } from '../../clock.ts';
import type { ClientConfig } from '../../config/gateway-config.ts';
import { isShortSecret } from '../../config/sections/client.ts';
import type { Caller } from './caller.ts';

/**
 * The configured clients. Methods take microseconds, never throw, and give callers that know what authenticated them.
 */
export interface Clients {
  readonly isEmpty: boolean;
  /** The marks of the secrets that authenticate the client of that name now. */
  marksOf(name: string): readonly string[];
  /** The client of that name, as a caller that is not authenticated. */
  get(name: string): Caller | undefined;
  /** By a secret alone (Bearer, X-Gateway-Key). */
  bySecret(secret: string): Caller | null;
  /** By Basic. */
  byNameAndSecret(name: string, secret: string): Caller | null;
  /** By the `subjectKey` of a verified certificate and the fingerprint of that certificate. */
  byCertificate(key: string, authFingerprint: string): Caller | null;
  /**
   * By what authenticated it before: null when that would authenticate nobody now. `cas` are the marks of the client
   * CAs as they are now.
   */
  byFingerprint(name: string, authFingerprint: string, cas: readonly string[]): Caller | null;
}

/** Secret files are checked this often. */
const REVISION_POLL_MS = 1_000;

/** Where clients authenticate. */
export interface Exposure {
  /** Whether others than users of this machine can try secrets. */
  readonly isReachable: boolean;
}

/**
 * Builds the registry from the configuration. A secret file that cannot be read, or that now holds a short secret while
 * other machines reach a listener, leaves its client without that secret until the file changes.
 */
export function createClients(
  configs: readonly ClientConfig[],
  clock: Clock,
  exposure: Exposure = { isReachable: false },
): Clients {
  const callers = new Map(configs.map((client) => [client.name, callerOf(client, null)]));
  const bySubject = new Map<string, ClientConfig>();
  for (const client of configs)
    if (client.certSubject !== null) bySubject.set(parseCertSubject(client.certSubject), client);
  let seenRevision: string | null = null;
  let lookedMono = Number.NEGATIVE_INFINITY;
  let accepted: AcceptedDigest<Caller>[] = [];
  const isFixed = configs.every(({ secret }) => secret === null || secret.revision().startsWith('inline'));

  function digests(): readonly AcceptedDigest<Caller>[] {
    if (seenRevision !== null && (isFixed || clock.monotonic() - lookedMono < REVISION_POLL_MS)) return accepted;
    lookedMono = clock.monotonic();
    const revision = configs.map(({ secret }) => secret?.revision() ?? '').join('|');
    if (revision !== seenRevision) {
      accepted = configs.flatMap((client) =>
        digestsOf(client, exposure).map((digest) => acceptDigest(digest, callerOf(client, markOf(digest)))),
      );
      seenRevision = revision;
    }
    return accepted;
  }

  return {
    isEmpty: configs.length === 0,
    marksOf: (name) => digests().flatMap(({ mark, owner }) => (owner.client?.name === name ? [mark] : [])),
    get: (name) => callers.get(name),
    bySecret(secret) {
      const found = findByDigest(digestOf(secret), digests());
      // The loader refuses equal secrets, but a file may come to hold another client's later: then it authenticates
      // neither of them by itself.
      const isShared =
        found !== null && digests().some(({ mark, owner }) => mark === found.mark && owner !== found.owner);
      return found === null || isShared ? null : found.owner;
    },
    byNameAndSecret: (name, secret) =>
      findByDigest(digestOf(secret), digests(), ({ client }) => client?.name === name)?.owner ?? null,
    byCertificate(key, authFingerprint) {
      const client = bySubject.get(key);
      return client === undefined ? null : callerOf(client, authFingerprint);
    },
    byFingerprint(name, authFingerprint, cas) {
      if (!isCertificateFingerprint(authFingerprint))
        return (
          digests().find(({ mark, owner }) => mark === authFingerprint && owner.client?.name === name)?.owner ?? null
        );
      const client = callers.get(name)?.client;
      if (
        client?.certSubject == null ||
        !isCertificateBelieved(authFingerprint, parseCertSubject(client.certSubject), cas)
      )
        return null;
      return callerOf(client, authFingerprint);
    },
  };
}

function callerOf(client: ClientConfig, authFingerprint: string | null): Caller {
  return Object.freeze({
    client,
    handle: null,
    session: null,
    authFingerprint,
    isAuthenticated: authFingerprint !== null,
  });
}

function digestsOf({ secret, secretSha256 }: ClientConfig, { isReachable }: Exposure): Buffer[] {
  const digests: Buffer[] = secretSha256.map((hex) => Buffer.from(hex, 'hex')).filter(({ length }) => length === 32);
  try {
    const value = secret?.read().reveal();
    if (value !== undefined && !(isReachable && isShortSecret(value))) digests.push(digestOf(value));
  } catch {
    // The file is missing or empty at the moment: nobody can authenticate by it, and the next check may find it.
  }
  return digests;
}

/** The SHA-256 of a presented secret. */
export function digestOf(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/** First 12 hex digits of a digest: enough to tell an owner's secrets apart, useless for guessing one. */
export function markOf(digest: Buffer): string {
  return digest.toString('hex', 0, 6);
}

/**
 * What tells a client's secrets apart in records, in metrics and in `gcg client list`: the first 8 hex digits of the
 * secret's SHA-256, as `secret_sha256` shows them. Takes such a digest, or an `authFingerprint`; null for what is no
 * secret's.
 */
export function secretFingerprint(authFingerprint: string | null): string | null {
  return authFingerprint === null || isCertificateFingerprint(authFingerprint) ? null : authFingerprint.slice(0, 8);
}

/** An accepted digest and whose it is. */
export interface AcceptedDigest<T> {
  readonly digest: Buffer;
  readonly mark: string;
  readonly owner: T;
}

/** Prepares a digest for comparison. */
export function acceptDigest<T>(digest: Buffer, owner: T): AcceptedDigest<T> {
  return { digest, mark: markOf(digest), owner };
}

/**
 * The match for `digest` whose owner also passes `isWanted`, or null. Every candidate is compared, so that the time
 * taken tells nothing about which one fits.
 */
export function findByDigest<T>(
  digest: Buffer,
  accepted: readonly AcceptedDigest<T>[],
  isWanted: (owner: T) => boolean = () => true,
): AcceptedDigest<T> | null {
  let found: AcceptedDigest<T> | null = null;
  for (const candidate of accepted) {
    const isEqual = timingSafeEqual(candidate.digest, digest);
    if (isEqual && isWanted(candidate.owner)) found = candidate;
  }
  return found;
}

/**
 * What an Authorization header says. `other`: a scheme that is not supported, an empty Bearer, something unreadable;
 * `text` is all that could be read of it.
 */
export type Authorization =
  | { readonly scheme: 'bearer'; readonly token: string }
  | { readonly scheme: 'basic'; readonly name: string; readonly secret: string }
  | { readonly scheme: 'other'; readonly text: string };

/**
 * Takes an Authorization header apart: RFC 6750 Bearer and RFC 7617 Basic, scheme names in any case. The Basic pair is
 * split at its first colon and taken raw: SDKs do not percent-encode it.
 */
export function parseAuthorization(header: string): Authorization {
  const at = header.search(/[ \t]/);
  if (at < 0) return { scheme: 'other', text: header };
  const scheme = header.slice(0, at).toLowerCase();
  const value = header.slice(at + 1).trim();
  if (value === '') return { scheme: 'other', text: '' };
  if (scheme === 'bearer') return { scheme: 'bearer', token: value };
  if (scheme !== 'basic' || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(value)) return { scheme: 'other', text: value };
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0
    ? { scheme: 'other', text }
    : { scheme: 'basic', name: text.slice(0, colon), secret: text.slice(colon + 1) };
}
