// The TLS material of `[tls]`: which authorities are trusted and which certificate we show. Files are read again when they changed.
// Builds contexts only; verification itself is in tls-layer.ts and cannot be switched off.

import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { findCertificates, LARGEST_PEM_BYTES } from '../../config/pem-file.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { fileRevision, readPlainFileSync, whyNotRead } from '../../fs/plain-file.ts';
import type { Log } from '../../logging/log.ts';

/** One reading of the files. A new object whenever something changed, so that sessions of the old one are not resumed. */
export interface TlsMaterial {
  /** For the upstream: our roots, and the client certificate where one is configured. */
  readonly upstream: SecureContext;
  /** For a proxy spoken to over TLS, and for PAC files: the same roots, never our client certificate. */
  readonly plain: SecureContext;
}

export interface Trust {
  /**
   * The present material; one stat per configured file. Throws GatewayError `gateway.upstream.tls` when a file cannot be used.
   * Once it has succeeded, a file that turns bad (half-written, say) is logged once and the last good material stays in use.
   */
  current(): TlsMaterial;
}

/** Nothing is read before the first `current()`: loading the system's roots takes tens of milliseconds. */
export function createTrust({ tls, log }: { tls: GatewayConfig['tls']; log: Log }): Trust {
  let material: TlsMaterial | undefined;
  let triedRevision: string | undefined;
  const files = [tls.caFile, tls.certFile, tls.keyFile].filter((file) => file !== null);
  return {
    current() {
      const revision = [...files.map(fileRevision), tls.keyPassphrase?.revision()].join('\n');
      if (material && revision === triedRevision) return material;
      try {
        material = load(tls);
      } catch (error) {
        if (!material || !isGatewayError(error)) throw error;
        log.error({ problem: error.message }, 'changed tls files cannot be used, the previous ones stay');
      }
      triedRevision = revision;
      return material;
    },
  };
}

function load(tls: GatewayConfig['tls']): TlsMaterial {
  const ca = [...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...readAuthorities(tls.caFile)])];
  const plain = createSecureContext({ ca });
  if (tls.certFile === null || tls.keyFile === null) return { upstream: plain, plain };
  const cert = read(tls.certFile, 'tls.cert_file');
  const key = read(tls.keyFile, 'tls.key_file');
  try {
    const passphrase = tls.keyPassphrase?.read().reveal();
    return { upstream: createSecureContext({ ca, cert, key, ...(passphrase !== undefined && { passphrase }) }), plain };
  } catch (error) {
    const why = isGatewayError(error) ? error.message : ((error as NodeJS.ErrnoException).code ?? 'unreadable');
    throw unusable(
      `tls.cert_file ${tls.certFile} and tls.key_file ${tls.keyFile} cannot be used together (${why}): check that they belong to each other, and tls.key_passphrase`,
    );
  }
}

function readAuthorities(caFile: string | null): readonly string[] {
  if (caFile === null) return [];
  const { pems, damaged } = findCertificates(read(caFile, 'tls.ca_file'));
  if (pems.length === 0) throw unusable(`tls.ca_file ${caFile} holds no certificate: it must be PEM, with BEGIN CERTIFICATE lines`);
  if (damaged !== null) throw unusable(`tls.ca_file ${caFile}: certificate ${damaged} of ${pems.length} is damaged`);
  return pems;
}

function read(path: string, setting: string): string {
  try {
    return readPlainFileSync(path, LARGEST_PEM_BYTES).bytes.toString('utf8');
  } catch (error) {
    throw unusable(`${setting} ${path} ${whyNotRead(error, 'mend the path or its permissions')}`);
  }
}

function unusable(message: string): GatewayError {
  return new GatewayError('gateway.upstream.tls', message);
}
