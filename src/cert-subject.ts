// The subject of a client certificate, as it is compared with a configured one, and its fingerprint. TLS has
// verified it before.

import { hash } from 'node:crypto';

/** A subject as Node gives it: attribute to value, or to several. */
export type CertificateSubject = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Attributes in a fixed order, `CN=crm,O=Example`; values compared exactly, attribute names in upper case. */
function normalise(pairs: readonly (readonly [string, string])[]): string {
  return JSON.stringify(pairs.map(([name, value]) => `${name.trim().toUpperCase()}=${value.trim()}`).sort());
}

/** One string for a subject, whatever the order of its attributes. */
export function subjectKey(subject: CertificateSubject): string {
  return normalise(
    Object.entries(subject).flatMap(([name, value]) =>
      value === undefined ? [] : (typeof value === 'string' ? [value] : value).map((one) => [name, one] as const),
    ),
  );
}

/**
 * The same for a setting: `CN=crm, O=Example` names the whole subject, a bare `crm` is a subject of that CN alone.
 * Commas in values as `\,`.
 */
export function parseCertSubject(setting: string): string {
  if (!setting.includes('=')) return normalise([['CN', setting]]);
  const parts = setting.match(/(?:\\.|[^,\\])+/g) ?? [];
  return normalise(
    parts.map((part) => {
      const at = part.indexOf('=');
      return [at < 0 ? 'CN' : part.slice(0, at), part.slice(at + 1).replace(/\\(.)/g, '$1')] as const;
    }),
  );
}

/** The CAs that callers' certificates are verified by. They change when their file does. Each is told by a mark. */
export interface ClientCas {
  readonly marks: readonly string[];
  /** Those that a connection's certificate was verified by. */
  marksAt(socket: object): readonly string[];
}

const CERTIFICATE_PREFIX = 'cert:';

/** So many CAs are told apart; of more, a change of one is a change of all. */
const MAX_CAS = 16;

/**
 * The fingerprint of a certificate, as it is kept in a handle or session: its subject, by `subjectKey`, and the CAs
 * that may have vouched for it.
 */
export function certificateFingerprint(key: string, cas: readonly string[]): string {
  return `${CERTIFICATE_PREFIX}${markOf(key)}:${casOf(cas).join('.')}`;
}

/** Whether a fingerprint is of a certificate; others are of secrets. */
export function isCertificateFingerprint(authFingerprint: string): boolean {
  return authFingerprint.startsWith(CERTIFICATE_PREFIX);
}

/** The subject, as a mark, that a certificate's fingerprint is of; null for other fingerprints. */
export function certificateSubjectOf(authFingerprint: string | null): string | null {
  return authFingerprint !== null && isCertificateFingerprint(authFingerprint)
    ? (authFingerprint.split(':')[1] as string)
    : null;
}

/**
 * Whether the certificate would still be believed: none of its CAs was taken away, and it is of that subject. `key`
 * null: any subject will do.
 */
export function isCertificateBelieved(authFingerprint: string, key: string | null, cas: readonly string[]): boolean {
  const [, subject, vouching = ''] = authFingerprint.split(':');
  if (!isCertificateFingerprint(authFingerprint) || vouching === '' || (key !== null && subject !== markOf(key)))
    return false;
  const current = new Set(casOf(cas));
  return vouching.split('.').every((ca) => current.has(ca));
}

function casOf(cas: readonly string[]): readonly string[] {
  return cas.length <= MAX_CAS ? cas : [markOf(cas.join('.'))];
}

/** Enough to tell one from another. */
function markOf(text: string): string {
  return hash('sha256', text).slice(0, 12);
}
