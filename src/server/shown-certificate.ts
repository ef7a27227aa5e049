// The certificate that the caller of a connection showed, as authentication needs it: looked at once per connection.

import type { TLSSocket } from 'node:tls';
import { type CertificateSubject, type ClientCas, certificateFingerprint, subjectKey } from '../cert-subject.ts';

/** A certificate that was verified. */
export interface ShownCertificate {
  /** Its `subjectKey`. */
  readonly key: string;
  readonly authFingerprint: string;
}

const shownCertificates = new WeakMap<TLSSocket, ShownCertificate | null>();

/** The certificate that the TLS layer verified; null where there is none. */
export function verifiedCertificate(socket: TLSSocket, cas: ClientCas): ShownCertificate | null {
  const known = shownCertificates.get(socket);
  if (known !== undefined) return known;
  const subject = socket.authorized
    ? ((socket.getPeerCertificate()?.subject as CertificateSubject | undefined) ?? null)
    : null;
  const key = subject && subjectKey(subject);
  const shown = key === null ? null : { key, authFingerprint: certificateFingerprint(key, cas.marksAt(socket)) };
  shownCertificates.set(socket, shown);
  return shown;
}
