// Checks certificate and key files when the configuration is loaded, so that `gcg check` finds a wrong path, a wrong
// file, or a pair that does not belong together. Keeps nothing of them: whoever uses them reads them again.

import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { isReadableByOthers } from '../fs/permissions.ts';
import { readPlainFileSync, whyNotRead } from '../fs/plain-file.ts';
import type { SecretSource } from '../secret.ts';
import type { OptionSlot } from './option.ts';
import type { SectionReport } from './section.ts';

/** The largest PEM file. A bundle of every public authority is a quarter of a megabyte. */
export const LARGEST_PEM_BYTES = 4 * 1024 * 1024;

/** The certificates of a PEM text, and the number of the first that cannot be read, from 1; null: all can. */
export function findCertificates(text: string): { readonly pems: readonly string[]; readonly damaged: number | null } {
  const pems = text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? [];
  const damaged = pems.findIndex((pem) => !isCertificate(pem));
  return { pems, damaged: damaged === -1 ? null : damaged + 1 };
}

/** Adds a problem when a file holds no certificates that can be read. */
export function checkCertificates(path: string, slot: OptionSlot): void {
  checkContent(path, slot, whyNoCertificates);
}

/** The same for a certificate of our own, which is also reported when it has expired: bundles always hold some. */
export function checkOwnCertificate(path: string, slot: OptionSlot): void {
  const text = checkContent(path, slot, whyNoCertificates);
  const expiredAt = text === null ? null : findExpiry(text);
  if (expiredAt !== null) slot.warning(`the certificate in ${path} has expired (${expiredAt}): renew it`);
}

/** Adds a problem when a file holds no private key, and a warning when others can read it. */
export function checkKey(path: string, slot: OptionSlot): void {
  const text = checkContent(path, slot, whyNoKey);
  if (text !== null && isReadableByOthers(path))
    slot.warning(`others can read ${path}, which holds a private key; run chmod 600 on it`);
}

/** The text of a file that is in order; null, with a problem added, when it is not. */
function checkContent(path: string, slot: OptionSlot, refuse: (text: string) => string | undefined): string | null {
  slot.context.referencedFiles.add(path);
  const { text, problem } = readText(path);
  const reason = text === undefined ? problem : refuse(text);
  if (reason !== undefined) slot.problem(`${path} ${reason}`);
  return reason === undefined ? (text ?? null) : null;
}

/**
 * Adds a problem when certificate and key, which are files in order each, do not belong together or the key cannot be
 * opened.
 */
export function checkPemPair(
  report: SectionReport,
  certFile: string | null,
  keyFile: string | null,
  keyPassphrase: SecretSource | null = null,
): void {
  if (certFile === null || keyFile === null) return;
  const [cert, key] = [readText(certFile).text, readText(keyFile).text];
  if (cert === undefined || key === undefined || whyNoCertificates(cert) !== undefined || whyNoKey(key) !== undefined)
    return;
  let passphrase: string | undefined;
  try {
    passphrase = keyPassphrase?.read().reveal();
  } catch {
    // Reported where secrets are read.
    return;
  }
  try {
    createSecureContext({ cert, key, ...(passphrase !== undefined && { passphrase }) });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    report.problem(
      'key_file',
      `${keyFile} does not fit ${certFile} (${code ?? 'unusable'}): they must belong together, and the key must be ` +
        'one we can open',
    );
  }
}

function whyNoCertificates(text: string): string | undefined {
  const { pems, damaged } = findCertificates(text);
  if (pems.length === 0) return `holds no certificate; ${inPem(text)}`;
  return damaged === null ? undefined : `holds a certificate that is damaged (${damaged} of ${pems.length})`;
}

function whyNoKey(text: string): string | undefined {
  return /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/.test(text) ? undefined : `holds no private key; ${inPem(text)}`;
}

/** When the first certificate, which is the owner's, expired; null when it has not. */
function findExpiry(text: string): string | null {
  const [own] = findCertificates(text).pems;
  const { validTo } = own === undefined ? { validTo: '' } : new X509Certificate(own);
  return Date.parse(validTo) <= Date.now() ? validTo : null;
}

function inPem(text: string): string {
  return text.includes('-----BEGIN ') ? 'is it the right file?' : 'convert it to PEM (-----BEGIN …)';
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function readText(path: string): { text?: string; problem?: string } {
  try {
    return { text: readPlainFileSync(path, LARGEST_PEM_BYTES).bytes.toString('latin1') };
  } catch (error) {
    return { problem: whyNotRead(error, 'fix the path or its permissions') };
  }
}
