// The configured clients and how each proves itself: by secret, by name and secret, by certificate. Rules and credentials are other files.

import type { Clock } from '../../clock.ts';
import { type CertificateSubject, parseCertSubject, subjectKey } from '../../config/cert-subject.ts';
import type { ClientConfig } from '../../config/gateway-config.ts';
import type { Caller } from './caller.ts';
import { type AcceptedDigest, acceptDigest, digestOf, findByDigest } from './secret-digest.ts';

/** A client that proved itself, and by which of its secrets. */
export interface ProvedClient {
  readonly caller: Caller;
  /** First 12 hex digits of the accepted SHA-256: a handle made now ends when this secret does. */
  readonly proof: string;
}

/** The registry. Its methods take microseconds and throw nothing. */
export interface Clients {
  readonly isEmpty: boolean;
  get(name: string): Caller | undefined;
  /** By a secret alone (Bearer, X-Gateway-Key). */
  bySecret(secret: string): ProvedClient | null;
  /** By Basic. */
  byNameAndSecret(name: string, secret: string): ProvedClient | null;
  byCertificate(subject: CertificateSubject): ProvedClient | null;
  /** Whether this proof of this client is still accepted. */
  accepts(name: string, proof: string): boolean;
}

/** Secret files are looked at this often. */
const REVISION_POLL_MS = 1_000;

/** Marks a handle that came of a certificate. */
const CERTIFICATE_PROOF = 'certificate';

/** Builds the registry from the configuration. A secret file that cannot be read leaves its client without that secret until it can. */
export function createClients(configs: readonly ClientConfig[], clock: Clock): Clients {
  const callers = new Map(configs.map((client) => [client.name, callerOf(client)]));
  const bySubject = new Map<string, Caller>();
  for (const { client } of callers.values()) {
    if (client?.certSubject != null) bySubject.set(parseCertSubject(client.certSubject), callers.get(client.name) as Caller);
  }
  let seenRevision: string | null = null;
  let lookedMono = Number.NEGATIVE_INFINITY;
  let accepted: AcceptedDigest<Caller>[] = [];
  const isFixed = configs.every(({ secret }) => secret === null || secret.revision().startsWith('inline'));

  function digests(): readonly AcceptedDigest<Caller>[] {
    if (seenRevision !== null && (isFixed || clock.monotonic() - lookedMono < REVISION_POLL_MS)) return accepted;
    lookedMono = clock.monotonic();
    const revision = configs.map(({ secret }) => secret?.revision() ?? '').join('|');
    if (revision !== seenRevision) {
      accepted = configs.flatMap((client) => digestsOf(client).map((digest) => acceptDigest(digest, callers.get(client.name) as Caller)));
      seenRevision = revision;
    }
    return accepted;
  }

  const proved = (found: AcceptedDigest<Caller> | null): ProvedClient | null => found && { caller: found.owner, proof: found.mark };

  return {
    isEmpty: configs.length === 0,
    get: (name) => callers.get(name),
    bySecret(secret) {
      const found = findByDigest(digestOf(secret), digests());
      // The loader refuses equal secrets, but a file may come to hold another client's later: then it proves neither of them by itself.
      const isShared = found !== null && digests().some(({ mark, owner }) => mark === found.mark && owner !== found.owner);
      return isShared ? null : proved(found);
    },
    byNameAndSecret: (name, secret) => proved(findByDigest(digestOf(secret), digests(), ({ client }) => client?.name === name)),
    byCertificate(subject) {
      const caller = bySubject.get(subjectKey(subject));
      return caller ? { caller, proof: CERTIFICATE_PROOF } : null;
    },
    accepts(name, proof) {
      const caller = callers.get(name);
      if (caller === undefined) return false;
      if (proof === CERTIFICATE_PROOF) return caller.client?.certSubject !== null;
      return digests().some(({ mark, owner }) => owner === caller && mark === proof);
    },
  };
}

function callerOf(client: ClientConfig): Caller {
  return Object.freeze({ client, handle: null, session: null, isAuthenticated: true });
}

function digestsOf({ secret, secretSha256 }: ClientConfig): Buffer[] {
  const digests: Buffer[] = secretSha256.map((hex) => Buffer.from(hex, 'hex')).filter(({ length }) => length === 32);
  try {
    if (secret !== null) digests.push(digestOf(secret.read().reveal()));
  } catch {
    // The file is missing or empty at the moment: nobody can prove to be this client by it, and the next look may find it.
  }
  return digests;
}
