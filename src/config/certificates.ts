// When the certificates end that a configuration names: the listener's, the CAs by which callers' are verified, and those
// of calls to the upstream. Reads files and keeps nothing; what is warned of, and where, is for others to say.

import { X509Certificate } from 'node:crypto';
import { readPlainFileSync } from '../fs/plain-file.ts';

/** What a certificate is for; also a metric's label. */
export type CertificateUse = 'listener' | 'client_ca' | 'upstream_ca' | 'upstream_client';

/** A file with certificates, and what for. */
export interface CertificateFile {
  readonly use: CertificateUse;
  readonly file: string;
}

/** When a file of certificates ends to be of use. */
export interface CertificateExpiry extends CertificateFile {
  /** Whose certificate it is that ends first, `CN=gateway.example.com`. */
  readonly subject: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** A certificate that ends sooner is warned of: time enough to order one where a person has to. */
export const EXPIRY_WARNING_DAYS = 21;

const DAY_MS = 86_400_000;

/** The largest PEM file. A bundle of every public authority is a quarter of a megabyte. */
export const LARGEST_PEM_BYTES = 4 * 1024 * 1024;

/** What of a configuration names certificates. */
interface CertificateSettings {
  readonly server: { readonly tls: { readonly certFile: string; readonly clientCaFile: string | null } | null };
  readonly tls: { readonly caFile: string | null; readonly certFile: string | null };
}

/** The files with certificates that a configuration names. */
export function certificateFiles({ server, tls }: CertificateSettings): readonly CertificateFile[] {
  const uses: readonly (readonly [CertificateUse, string | null | undefined])[] = [
    ['listener', server.tls?.certFile],
    ['client_ca', server.tls?.clientCaFile],
    ['upstream_ca', tls.caFile],
    ['upstream_client', tls.certFile],
  ];
  return uses.flatMap(([use, file]) => (file === null || file === undefined ? [] : [{ use, file }]));
}

/** Reads one file; null where it cannot be read or holds no certificate, which is reported elsewhere. */
export function readExpiry({ use, file }: CertificateFile): CertificateExpiry | null {
  try {
    const text = readPlainFileSync(file, LARGEST_PEM_BYTES).bytes.toString('latin1');
    const found = findExpiry(findCertificates(text).pems, use.endsWith('_ca'));
    return found && { use, file, ...found };
  } catch {
    return null;
  }
}

/** The certificates of a PEM text, and the number of the first that cannot be read, from 1; null: all can. */
export function findCertificates(text: string): { readonly pems: readonly string[]; readonly damaged: number | null } {
  const pems = text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? [];
  const damaged = pems.findIndex((pem) => parse(pem) === null);
  return { pems, damaged: damaged === -1 ? null : damaged + 1 };
}

/**
 * The certificate that ends first; null where there is none. Of a chain each counts, since all are shown together. In a
 * bundle of CAs one that was renewed counts by its latest, and one that has ended does not count while others go on:
 * bundles always hold some.
 */
export function findExpiry(
  pems: readonly string[],
  isBundle: boolean,
  now: number = Date.now(),
): Pick<CertificateExpiry, 'subject' | 'expiresAt'> | null {
  const all = pems.flatMap((pem) => {
    const certificate = parse(pem);
    if (certificate === null) return [];
    const subject = certificate.subject?.split('\n').reverse().join(', ') ?? '';
    return [{ subject, expiresAt: Date.parse(certificate.validTo) }];
  });
  const soonest = all.toSorted((a, b) => a.expiresAt - b.expiresAt);
  if (!isBundle) return soonest[0] ?? null;
  const latest = new Map(soonest.map((one) => [one.subject, one]));
  const living = [...latest.values()].filter(({ expiresAt }) => expiresAt > now);
  return living.toSorted((a, b) => a.expiresAt - b.expiresAt)[0] ?? soonest.at(-1) ?? null;
}

/** Whole days until a time, rounded down; negative when it has passed. */
export function daysUntil(at: number, now: number = Date.now()): number {
  return Math.floor((at - now) / DAY_MS);
}

/** Says that a certificate has ended or ends soon, and what to do; null while there is time. */
export function expiryWarning(
  { subject, expiresAt }: Pick<CertificateExpiry, 'subject' | 'expiresAt'>,
  file: string,
  now: number = Date.now(),
): string | null {
  const days = daysUntil(expiresAt, now);
  const date = new Date(expiresAt).toISOString().slice(0, 10);
  if (expiresAt <= now) return `the certificate in ${file} (${subject}) has expired on ${date}: renew it`;
  if (days >= EXPIRY_WARNING_DAYS) return null;
  const left = days === 0 ? 'within a day' : days === 1 ? 'in 1 day' : `in ${days} days`;
  return `the certificate in ${file} (${subject}) expires ${left}, on ${date}: renew it`;
}

/** Null also for one whose end is no time: nobody would take it. */
function parse(pem: string): X509Certificate | null {
  try {
    const certificate = new X509Certificate(pem);
    return Number.isNaN(Date.parse(certificate.validTo)) ? null : certificate;
  } catch {
    return null;
  }
}
