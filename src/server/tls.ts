// The gateway's own certificate, and the CA of its clients: read from files, and read again when the files change,
// without a restart and without losing a connection. Says nothing about who a certificate's owner is (authentication
// does).

import { hash, X509Certificate } from 'node:crypto';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { ClientCas } from '../cert-subject.ts';
import { LARGEST_PEM_BYTES } from '../config/certificates.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { fileRevision, readPlainFileSync, whyNotRead } from '../fs/plain-file.ts';
import type { Log } from '../logging/log.ts';

/** TLS of the listeners. One for all of them. */
export interface ServerTls {
  /**
   * For `https.createServer`. A client's certificate is asked for when there is a CA for it; callers without one may
   * authenticate otherwise.
   */
  readonly options: SecureContextOptions & { readonly requestCert: boolean; readonly rejectUnauthorized: false };
  /** What certificates of callers are verified by; null where none are asked for. */
  readonly clientCas: ClientCas | null;
  /** Keeps a server's certificate up to date. */
  attach(server: TlsServer): void;
  /** Looks at the files now; for tests, and for whoever is told that they changed. */
  refresh(): void;
  close(): void;
}

/**
 * The files are looked at this often: renewals by cert-manager and certbot replace links, which file watching misses.
 */
const POLL_MS = 1_000;

/**
 * Reads the files. Throws an Error that names the setting when one cannot be read or key and certificate do not belong
 * together.
 */
export function createServerTls(files: NonNullable<GatewayConfig['server']['tls']>, log: Log): ServerTls {
  const servers = new Set<TlsServer>();
  const verifiedBy = new WeakMap<object, readonly string[]>();
  // Before they are read: what changes meanwhile is noticed at the next look.
  let seen = revision(files);
  let context = load(files);
  let cas = marksOf(context.ca);

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
    cas = marksOf(context.ca);
    for (const server of servers) server.setSecureContext(context);
    log.info({}, 'certificate was read again');
  }
  const timer = setInterval(refresh, POLL_MS).unref();

  return {
    get options() {
      // Who shows no certificate, or one of another CA, may authenticate otherwise: authentication looks at
      // `authorized`.
      return { ...context, requestCert: files.clientCaFile !== null, rejectUnauthorized: false as const };
    },
    clientCas:
      files.clientCaFile === null
        ? null
        : {
            get marks() {
              return cas;
            },
            marksAt: (socket) => verifiedBy.get(socket) ?? [],
          },
    attach(server) {
      servers.add(server);
      // A handshake goes by the CAs of its beginning, however long its peer draws it out.
      const begunBy = new Map<string, readonly string[]>();
      server.on('connection', (socket: Socket) => {
        const name = connectionName(socket);
        begunBy.set(name, cas);
        socket.once('close', () => begunBy.delete(name));
      });
      server.on('secureConnection', (socket: TLSSocket) =>
        verifiedBy.set(socket, begunBy.get(connectionName(socket)) ?? []),
      );
      server.once('close', () => servers.delete(server));
    },
    refresh,
    close: () => clearInterval(timer),
  };
}

/** A name that a connection and the TLS over it share, and no other open connection has. */
export function connectionName({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
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
    throw new Error(
      `server.tls: certificate and key cannot be used together (${code ?? 'not PEM'}): ${certFile}, ${keyFile}`,
    );
  }
  return context;
}

/** The CAs of a bundle, each as a short fingerprint, whatever stands around and between them. */
function marksOf(bundle: SecureContextOptions['ca']): readonly string[] {
  const blocks =
    String(bundle ?? '').match(/-----BEGIN [A-Z0-9 ]*CERTIFICATE-----[^-]+-----END [A-Z0-9 ]*CERTIFICATE-----/g) ?? [];
  return [...new Set(blocks.map(markOf))].sort();
}

function markOf(pem: string): string {
  try {
    return new X509Certificate(pem).fingerprint256.replaceAll(':', '').slice(0, 12).toLowerCase();
  } catch {
    // TLS reads it or it does not: here it only has to be the same the next time.
    return hash('sha256', pem).slice(0, 12);
  }
}

function read(key: string, path: string): Buffer {
  try {
    return readPlainFileSync(path, LARGEST_PEM_BYTES).bytes;
  } catch (error) {
    throw new Error(`server.tls.${key}: ${path} ${whyNotRead(error)}`);
  }
}

function revision(files: NonNullable<GatewayConfig['server']['tls']>): string {
  return [files.certFile, files.keyFile, files.clientCaFile]
    .map((path) => (path === null ? '' : fileRevision(path)))
    .join('|');
}
