// TLS of outgoing connections: which CAs are trusted, client certificates, the handshake over a given stream, and what
// a reset in it means.

import type { Socket } from 'node:net';
import {
  createSecureContext,
  type DetailedPeerCertificate,
  getCACertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { buildConnector } from 'undici';
import { findCertificates, LARGEST_PEM_BYTES } from '../../config/certificates.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { fileRevision, readPlainFileSync, whyNotRead } from '../../fs/plain-file.ts';
import type { Log } from '../../logging/log.ts';
import { type DialContext, destroyOnAbort } from './dial-context.ts';
import { authority, type Endpoint } from './proxy-route.ts';

/** TLS over a stream that is there already. */
export interface TlsLayer {
  /**
   * Completes a verified handshake with `peer` over `raw`, which it owns from here on. Rejects with what `failure`
   * makes of the error, and of the certificate that the peer showed, if any. Ends with the dial; there is no deadline
   * of its own. An error of the socket that is given out ends no process, whoever listens.
   */
  secure(raw: Socket, peer: Endpoint, material: TlsMaterial, context: HandshakeContext): Promise<TLSSocket>;
}

interface HandshakeContext {
  readonly dial: DialContext;
  readonly failure: (error: Error, leaf?: DetailedPeerCertificate) => GatewayError;
}

/** undici's connector as it is, not as it is typed: it returns the socket it works on. */
type Connector = (options: buildConnector.Options, callback: buildConnector.Callback) => TLSSocket;

/** Sessions are cached per reading of the trust files: a session of withdrawn trust is not resumed. */
export function createTlsLayer(contextOf: (material: TlsMaterial) => SecureContext): TlsLayer {
  const connectors = new WeakMap<TlsMaterial, Connector>();
  const connectorFor = (material: TlsMaterial) => {
    let connector = connectors.get(material);
    if (!connector) {
      // Said explicitly, because Node lets NODE_TLS_REJECT_UNAUTHORIZED=0 decide where this is left out.
      connector = buildConnector({
        secureContext: contextOf(material),
        rejectUnauthorized: true,
        allowH2: false,
        timeout: 0,
      }) as Connector;
      connectors.set(material, connector);
    }
    return connector;
  };
  return {
    secure(raw, peer, material, { dial, failure }) {
      return new Promise((resolve, reject) => {
        let leaf: DetailedPeerCertificate | undefined;
        const options = {
          hostname: peer.host,
          host: authority(peer.host, peer.port),
          protocol: 'https:',
          port: String(peer.port),
          httpSocket: raw,
          ...(peer.servername !== undefined && { servername: peer.servername }),
        };
        // The socket beneath may report the same failure first, and nobody else listens there.
        raw.on('error', () => {});
        const release = destroyOnAbort(dial.signal, raw);
        const socket = connectorFor(material)(options, (error, secured) => {
          release();
          if (error) reject(failure(error, leaf));
          else resolve(secured as TLSSocket);
        });
        // For life: between two owners nobody else listens, and an error that nobody hears ends the process.
        socket.on('error', () => {});
        // Node drops the peer's certificate before it reports that it is not trusted: look at it one step earlier.
        socket.prependListener('secure', () => {
          // Not getPeerX509Certificate(): on Node 22 and 24 it leaves nothing for the check of the name that follows.
          leaf = socket.getPeerCertificate(true);
        });
      });
    },
  };
}

/**
 * One reading of the files. A new object whenever something changed, so that sessions of the old one are not resumed.
 */
export interface TlsMaterial {
  /** For the upstream: our roots, and the client certificate where one is configured. */
  readonly upstream: SecureContext;
  /** For a proxy spoken to over TLS, and for PAC files: the same roots, never our client certificate. */
  readonly plain: SecureContext;
}

/** The trust files, read again when they change. */
export interface Trust {
  /**
   * The current material; one stat per configured file. Throws GatewayError `gateway.upstream.tls` when a file cannot
   * be used. Once it has succeeded, a file that turns bad (half-written, say) is logged once and the last good material
   * stays in use.
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
  const ca = [
    ...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...readAuthorities(tls.caFile)]),
  ];
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
      `tls.cert_file ${tls.certFile} and tls.key_file ${tls.keyFile} cannot be used together (${why}): check that ` +
        'they belong to each other, and tls.key_passphrase',
    );
  }
}

function readAuthorities(caFile: string | null): readonly string[] {
  if (caFile === null) return [];
  const { pems, damaged } = findCertificates(read(caFile, 'tls.ca_file'));
  if (pems.length === 0)
    throw unusable(`tls.ca_file ${caFile} holds no certificate: it must be PEM, with BEGIN CERTIFICATE lines`);
  if (damaged !== null) throw unusable(`tls.ca_file ${caFile}: certificate ${damaged} of ${pems.length} is damaged`);
  return pems;
}

function read(path: string, setting: string): string {
  try {
    return readPlainFileSync(path, LARGEST_PEM_BYTES).bytes.toString('utf8');
  } catch (error) {
    throw unusable(`${setting} ${path} ${whyNotRead(error, 'fix the path or its permissions')}`);
  }
}

function unusable(message: string): GatewayError {
  return new GatewayError('gateway.upstream.tls', message);
}

/** The code a reset has on sockets of ours, instead of ECONNRESET. */
const RESET_CODE = 'GCG_RESET';

/**
 * Renames ECONNRESET on `socket` before any later listener sees it, and ends it at once after an alert: with TLS 1.3
 * the other side refuses our certificate when the handshake is over for us. To be called before the socket is handed
 * out.
 */
export function markResets<T extends Socket>(socket: T): T {
  return socket.prependListener('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET') error.code = RESET_CODE;
    else if (error.code?.startsWith('ERR_SSL_')) socket.destroy();
  });
}
