// The gateway's own certificate, and the CA of its clients: read from files, and read again when the files change, without a restart and
// without losing a connection. Says nothing about who a certificate's owner is (identify.ts does).

import type { Server as TlsServer } from 'node:https';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { LARGEST_PEM_BYTES } from '../config/pem-file.ts';
import type { Log } from '../logging/log.ts';
import { fileRevision, readPlainFileSync, whyNotRead } from '../plain-file.ts';

/** TLS of the listeners. One for all of them. */
export interface ServerTls {
  /** For `https.createServer`. A client's certificate is asked for when there is a CA for it; callers without one may prove themselves otherwise. */
  readonly options: SecureContextOptions & { readonly requestCert: boolean; readonly rejectUnauthorized: false };
  /** Keeps a server's certificate up to date. */
  attach(server: TlsServer): void;
  /** Looks at the files now; for tests, and for whoever is told that they changed. */
  refresh(): void;
  close(): void;
}

/** The files are looked at this often: renewals by cert-manager and certbot replace links, which file watching misses. */
const POLL_MS = 1_000;

/** Reads the files. Throws an Error that names the setting when one cannot be read or key and certificate do not belong together. */
export function createServerTls(files: NonNullable<GatewayConfig['server']['tls']>, log: Log): ServerTls {
  const servers = new Set<TlsServer>();
  let context = load(files);
  let seen = revision(files);

  function refresh(): void {
    const now = revision(files);
    if (now === seen) return;
    seen = now;
    try {
      context = load(files);
    } catch (error) {
      // Half-way through a renewal the two files do not match: the old pair stays, the next change is looked at again.
      log.warn({ error: (error as Error).message }, 'new certificate cannot be used');
      return;
    }
    for (const server of servers) server.setSecureContext(context);
    log.info({}, 'certificate was read again');
  }
  const timer = setInterval(refresh, POLL_MS).unref();

  return {
    get options() {
      // Who shows no certificate, or one of another CA, may prove itself otherwise: identify.ts looks at `authorized`.
      return { ...context, requestCert: files.clientCaFile !== null, rejectUnauthorized: false as const };
    },
    attach(server) {
      servers.add(server);
      server.once('close', () => servers.delete(server));
    },
    refresh,
    close: () => clearInterval(timer),
  };
}

function load({ certFile, keyFile, clientCaFile }: NonNullable<GatewayConfig['server']['tls']>): SecureContextOptions {
  const context = {
    cert: read('cert_file', certFile),
    key: read('key_file', keyFile),
    ...(clientCaFile !== null && { ca: read('client_ca_file', clientCaFile) }),
    minVersion: 'TLSv1.2' as const,
  };
  try {
    createSecureContext(context);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`server.tls: certificate and key cannot be used together (${code ?? 'not PEM'}): ${certFile}, ${keyFile}`);
  }
  return context;
}

function read(key: string, path: string): Buffer {
  try {
    return readPlainFileSync(path, LARGEST_PEM_BYTES).bytes;
  } catch (error) {
    throw new Error(`server.tls.${key}: ${path} ${whyNotRead(error)}`);
  }
}

function revision(files: NonNullable<GatewayConfig['server']['tls']>): string {
  return [files.certFile, files.keyFile, files.clientCaFile].map((path) => (path === null ? '' : fileRevision(path))).join('|');
}
