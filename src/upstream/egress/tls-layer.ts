// The one place where TLS is made on the way out, to the upstream and to proxies: on top of a raw connection, by undici's connector, always verified.
// It does not open connections and does not decide whom to trust (trust.ts).

import type { Socket } from 'node:net';
import type { DetailedPeerCertificate, SecureContext, TLSSocket } from 'node:tls';
import { buildConnector } from 'undici';
import type { GatewayError } from '../../errors.ts';
import { type Attempt, destroyOnAbort } from './attempt.ts';
import { authority, type Target } from './target.ts';
import type { TlsMaterial } from './trust.ts';

export interface TlsLayer {
  /**
   * Completes a verified handshake with `peer` over `raw`, which it owns from here on. Rejects with what `failure` makes of the error, and of
   * the certificate that the peer showed, if any. Ends with the attempt; there is no deadline of its own. An error of the socket that is
   * given out ends no process, whoever listens.
   */
  secure(raw: Socket, peer: Target, material: TlsMaterial, context: HandshakeContext): Promise<TLSSocket>;
}

interface HandshakeContext {
  readonly attempt: Attempt;
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
      connector = buildConnector({ secureContext: contextOf(material), rejectUnauthorized: true, allowH2: false, timeout: 0 }) as Connector;
      connectors.set(material, connector);
    }
    return connector;
  };
  return {
    secure(raw, peer, material, { attempt, failure }) {
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
        const release = destroyOnAbort(attempt.signal, raw);
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
