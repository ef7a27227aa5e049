// TLS of outgoing connections: which CAs are trusted, client certificates, the handshake over a given stream, and what
// a reset in it means.

import { isIP, type Socket } from 'node:net';
import {
  connect as connectTls,
  createSecureContext,
  type DetailedPeerCertificate,
  getCACertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { findCertificates, LARGEST_PEM_BYTES } from '../../config/certificates.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { fileRevision, readPlainFileSync, whyNotRead } from '../../fs/plain-file.ts';
import type { Log } from '../../logging/log.ts';
import { causeCode, isChainVerdict } from '../errors.ts';
import { type DialContext, destroyOnAbort } from './dial-context.ts';
import { authority, type Endpoint } from './proxy-route.ts';
import { TlsSessions } from './tls-sessions.ts';

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

/**
 * Sessions are kept per reading of the trust files: one of withdrawn trust, or of another client certificate, is never
 * resumed. `now`: epoch ms.
 */
export function createTlsLayer(contextOf: (material: TlsMaterial) => SecureContext, now: () => number): TlsLayer {
  const sessionsOf = new WeakMap<TlsMaterial, TlsSessions>();
  return {
    secure(raw, peer, material, { dial, failure }) {
      let sessions = sessionsOf.get(material);
      if (sessions === undefined) {
        sessions = new TlsSessions(now);
        sessionsOf.set(material, sessions);
      }
      // The socket beneath may report the same failure first, and nobody else listens there.
      raw.on('error', () => {});
      const release = destroyOnAbort(dial.signal, raw);
      return handshake(raw, peer, contextOf(material), sessions).then(
        (socket) => {
          release();
          return socket;
        },
        ({ error, leaf }: HandshakeFailure) => {
          release();
          throw failure(error, leaf);
        },
      );
    },
  };
}

interface HandshakeFailure {
  readonly error: Error;
  readonly leaf: DetailedPeerCertificate | undefined;
}

/**
 * So much of a body may wait in each direction: with Node's own mark, one piece from the caller's socket, each piece
 * stops the upload until it is written. Node passes the option on to the socket, its types leave it out.
 */
const STREAM_BUFFER = { highWaterMark: 256 * 1024 };

/** Rejects with a HandshakeFailure. */
function handshake(
  raw: Socket,
  { host, port, servername = isIP(host) === 0 ? host : '' }: Endpoint,
  secureContext: SecureContext,
  sessions: TlsSessions,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // The name that is verified is part of it: Node does not look at the certificate of a resumed session again.
    const key = `${servername} ${authority(host, port)}`;
    const offered = sessions.take(key);
    let leaf: DetailedPeerCertificate | undefined;
    let isVerified = false;
    let certificateEndsAt = 0;
    const tickets: Buffer[] = [];
    const socket = connectTls({
      socket: raw,
      host,
      port,
      servername,
      secureContext,
      // Said explicitly, because Node lets NODE_TLS_REJECT_UNAUTHORIZED=0 decide where this is left out.
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
      ...STREAM_BUFFER,
      ...(offered && { session: offered.ticket }),
    });
    const keep = (ticket: Buffer) => {
      const resumed = socket.isSessionReused() ? offered : undefined;
      sessions.keep(key, ticket, resumed, certificateEndsAt);
    };
    // For life: between two owners nobody else listens, and an error that nobody hears ends the process.
    socket.on('error', (error) => {
      if (isVerified) return;
      if (offered !== undefined) sessions.forget(key);
      reject({ error, leaf } satisfies HandshakeFailure);
    });
    // Before TLS 1.3 the ticket comes before the certificate is verified, from then on after it.
    socket.on('session', (ticket) => void (isVerified ? keep(ticket) : tickets.push(ticket)));
    // Node drops the peer's certificate before it reports that it is not trusted: look at it one step earlier.
    socket.prependListener('secure', () => {
      // Not getPeerX509Certificate(): on Node 22 and 24 it leaves nothing for the check of the name that follows.
      leaf = socket.getPeerCertificate(true);
    });
    socket.once('secureConnect', () => {
      isVerified = true;
      certificateEndsAt = Date.parse(leaf?.valid_to ?? '') || 0;
      // The chain is large, and this lives as long as the connection.
      leaf = undefined;
      for (const ticket of tickets) keep(ticket);
      resolve(socket);
    });
  });
}

/**
 * One reading of the files. A new object whenever something changed, so that sessions of the old one are not resumed.
 */
export interface TlsMaterial {
  /** For the upstream: our roots, and the client certificate where one is configured. */
  readonly upstream: SecureContext;
  /** For a proxy spoken to over TLS, and for PAC files: the same roots, never our client certificate. */
  readonly plain: SecureContext;
  /** Whose authorities are among the roots. */
  readonly breadth: Breadth;
}

/**
 * How many of those whom we trust are looked at: a chain that is good for some of them is good for all, few need all, and
 * Node's own are 18 ms to read, the system's 30.
 */
type Breadth = 'file' | 'node' | 'all';

const WIDER: Readonly<Record<Breadth, Breadth | null>> = { file: 'node', node: 'all', all: null };

/**
 * Whom we trust: those of `tls.ca_file`, Node's authorities and the system's. What a chain does not need is not read: the
 * file's come first, where there is one, else Node's.
 */
export interface Trust {
  /**
   * The current material; one stat per configured file. Throws GatewayError `gateway.upstream.tls` when a file cannot
   * be used. Once it has succeeded, a file that turns bad (half-written, say) is logged once and the last good material
   * stays in use.
   */
  current(): TlsMaterial;
  /**
   * What `open` yields that opens a verified connection with the material it is given. Opens it again, with more
   * authorities, where the chain was not acceptable and there are more. Rejects as `current` and `open` do.
   */
  verify<T>(open: (material: TlsMaterial) => Promise<T>): Promise<T>;
}

/** Nothing is read before the first use. Trust files are read again when they change. */
export function createTrust({ tls, log }: { tls: GatewayConfig['tls']; log: Log }): Trust {
  let material: TlsMaterial | undefined;
  let triedRevision: string | undefined;
  let breadth: Breadth = tls.caFile === null ? 'node' : 'file';
  const files = [tls.caFile, tls.certFile, tls.keyFile].filter((file) => file !== null);
  const current = () => {
    const revision = [...files.map(fileRevision), tls.keyPassphrase?.revision(), breadth].join('\n');
    if (material && revision === triedRevision) return material;
    try {
      material = load(tls, breadth);
    } catch (error) {
      if (!material || !isGatewayError(error)) throw error;
      log.error({ problem: error.message }, 'changed tls files cannot be used, the previous ones stay');
    }
    triedRevision = revision;
    return material;
  };
  return {
    current,
    async verify(open) {
      for (;;) {
        const used = current();
        try {
          return await open(used);
        } catch (error) {
          if (!isGatewayError(error) || !isChainVerdict(causeCode(error) ?? '')) throw error;
          // Another connection may have needed more in the meantime.
          if (breadth === used.breadth) breadth = WIDER[breadth] ?? breadth;
          if (current() === used) throw error;
        }
      }
    },
  };
}

function load(tls: GatewayConfig['tls'], breadth: Breadth): TlsMaterial {
  const ca = authorities(tls.caFile, breadth);
  const plain = createSecureContext({ ca });
  if (tls.certFile === null || tls.keyFile === null) return { upstream: plain, plain, breadth };
  const cert = read(tls.certFile, 'tls.cert_file');
  const key = read(tls.keyFile, 'tls.key_file');
  try {
    const passphrase = tls.keyPassphrase?.read().reveal();
    const upstream = createSecureContext({ ca, cert, key, ...(passphrase !== undefined && { passphrase }) });
    return { upstream, plain, breadth };
  } catch (error) {
    const why = isGatewayError(error) ? error.message : ((error as NodeJS.ErrnoException).code ?? 'unreadable');
    throw unusable(
      `tls.cert_file ${tls.certFile} and tls.key_file ${tls.keyFile} cannot be used together (${why}): check that ` +
        'they belong to each other, and tls.key_passphrase',
    );
  }
}

/** Undefined: Node's own alone, which it has in a form that costs a third of their texts. */
function authorities(caFile: string | null, breadth: Breadth): string[] | undefined {
  const own = readAuthorities(caFile);
  if (breadth === 'file') return [...own];
  if (breadth === 'node' && caFile === null) return undefined;
  const system = breadth === 'all' ? getCACertificates('system') : [];
  return [...new Set([...getCACertificates('default'), ...system, ...own])];
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
