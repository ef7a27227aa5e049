// The one place where TLS to the upstream is made: on top of a raw connection, by undici's connector, always verified.
// It does not open connections and does not decide whom to trust (trust.ts).

import type { Socket } from 'node:net';
import type { DetailedPeerCertificate, SecureContext, TLSSocket } from 'node:tls';
import { buildConnector } from 'undici';
import { type Attempt, destroyOnAbort } from './attempt.ts';
import { upstreamError } from './dial-error.ts';
import { authority, type Target } from './target.ts';
import type { TlsMaterial } from './trust.ts';

export interface TlsLayer {
  /**
   * Completes a verified handshake over `raw`, which it owns from here on. Rejects with GatewayError `gateway.upstream.tls`, or
   * `gateway.upstream.unreachable` when the peer drops the connection. Ends with the attempt; there is no deadline of its own.
   */
  secure(raw: Socket, target: Target, material: TlsMaterial, attempt: Attempt): Promise<TLSSocket>;
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
    secure(raw, target, material, attempt) {
      attempt.waitFor('gateway.upstream.timeout', `${authority(target.host, target.port)}, in the TLS handshake`);
      return new Promise((resolve, reject) => {
        let leaf: DetailedPeerCertificate | undefined;
        const options = {
          hostname: target.host,
          host: authority(target.host, target.port),
          protocol: 'https:',
          port: String(target.port),
          httpSocket: raw,
          ...(target.servername !== undefined && { servername: target.servername }),
        };
        // The socket beneath may report the same failure first, and nobody else listens there.
        raw.on('error', () => {});
        const release = destroyOnAbort(attempt.signal, raw);
        const socket = connectorFor(material)(options, (error, secured) => {
          release();
          if (error) reject(upstreamError(error, target, leaf));
          else resolve(secured as TLSSocket);
        });
        // Node drops the peer's certificate before it reports that it is not trusted: look at it one step earlier.
        socket.prependListener('secure', () => {
          // Not getPeerX509Certificate(): on Node 22 and 24 it leaves nothing for the check of the name that follows.
          leaf = socket.getPeerCertificate(true);
        });
      });
    },
  };
}
