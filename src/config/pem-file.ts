// Checks certificate and key files when the configuration is loaded, so that `gcg check` finds a wrong path, a wrong
// file, or a pair that does not belong together. Keeps nothing of them: whoever uses them reads them again.

import { createSecureContext } from 'node:tls';
import { isReadableByOthers } from '../fs/permissions.ts';
import { readPlainFileSync, whyNotRead } from '../fs/plain-file.ts';
import type { SecretSource } from '../secret.ts';
import { expiryWarning, findCertificates, findExpiry, LARGEST_PEM_BYTES } from './certificates.ts';
import type { OptionSlot } from './option.ts';
import type { SectionReport } from './section.ts';

/** Adds a problem when a file holds no CAs that can be read, and a warning when one ends soon. */
export function checkCertificates(path: string, slot: OptionSlot): void {
  checkExpiring(path, slot, true);
}

/** The same for a certificate of our own, with the chain that is shown with it. */
export function checkOwnCertificate(path: string, slot: OptionSlot): void {
  checkExpiring(path, slot, false);
}

function checkExpiring(path: string, slot: OptionSlot, isBundle: boolean): void {
  const text = checkContent(path, slot, whyNoCertificates);
  const expiry = text === null ? null : findExpiry(findCertificates(text).pems, isBundle);
  const warning = expiry && expiryWarning(expiry, path);
  if (warning) slot.warning(warning);
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

function inPem(text: string): string {
  return text.includes('-----BEGIN ') ? 'is it the right file?' : 'convert it to PEM (-----BEGIN …)';
}

function readText(path: string): { text?: string; problem?: string } {
  try {
    return { text: readPlainFileSync(path, LARGEST_PEM_BYTES).bytes.toString('latin1') };
  } catch (error) {
    return { problem: whyNotRead(error, 'fix the path or its permissions') };
  }
}
