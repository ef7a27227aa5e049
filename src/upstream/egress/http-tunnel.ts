// A tunnel through an HTTP or HTTPS proxy by CONNECT, with Basic credentials. Yields the raw connection; TLS to the target comes on top.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import type { ClientRequest } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { isGatewayError } from '../../errors.ts';
import { type Attempt, destroyOnAbort } from './attempt.ts';
import { bareCause } from './dial-error.ts';
import { httpTunnelAgent } from './proxy-agents.ts';
import { ANSWER_TOO_LONG, connectRefusal, proxyConnectError } from './proxy-error.ts';
import { type ProxyCredentials, type ProxyRoute, routeName } from './route.ts';
import { authority, type Target } from './target.ts';
import { openTcp } from './tcp.ts';

/** What the library's `proxyConnect` event carries. */
type ConnectAnswer = Parameters<typeof connectRefusal>[0];

/** A proxy's answer to CONNECT, its TLS handshake included, has no reason to be longer; the library itself would read on for ever. */
const LARGEST_ANSWER_BYTES = 64 * 1024;
/** How often the connection beneath a proxy's TLS is looked at: what reads it tells nobody. */
const LOOK_EVERY_MS = 20;

/** `context` has the roots for a proxy spoken to over TLS. Rejects with GatewayErrors `gateway.proxy.*` only. */
export async function openHttpTunnel(
  route: ProxyRoute,
  target: Target,
  { attempt, context }: { attempt: Attempt; context: () => SecureContext },
): Promise<Socket> {
  attempt.waitFor('gateway.proxy.timeout', `the proxy ${routeName(route)}, asked for a tunnel to ${authority(target.host, target.port)}`);
  const credentials = route.credentials();
  const HttpsProxyAgent = await httpTunnelAgent(route.protocol === 'https' ? 'https' : 'http');
  let end = () => {};
  try {
    const beneath = route.protocol === 'https' ? await openTcp({ host: route.host, port: route.port, signal: attempt.signal }) : undefined;
    if (beneath) end = endWith(attempt.signal, beneath);
    const agent = new HttpsProxyAgent(`${route.protocol}://${authority(route.host, route.port)}` as 'https://', {
      // A header, not part of the URL: the library writes URLs to its debug log.
      headers: { 'User-Agent': 'genesys-cloud-gateway', 'Proxy-Connection': 'Keep-Alive', ...(credentials && basic(credentials)) },
      ...(beneath && {
        socket: beneath,
        secureContext: context(),
        rejectUnauthorized: true,
        ...(isIP(route.host) === 0 && { servername: route.host }),
      }),
    });
    const request = Object.assign(new EventEmitter(), { getHeader: () => undefined, path: '/', destroy() {} });
    let answer: ConnectAnswer | undefined;
    request.once('proxyConnect', (response: ConnectAnswer) => {
      answer = response;
    });
    const options = { host: target.host, port: target.port, secureEndpoint: false } as Parameters<typeof agent.connect>[1];
    const { outcome, opened } = watchOpening(() => agent.connect(request as unknown as ClientRequest, options));
    if (opened) end = endWith(attempt.signal, opened);
    const socket = await (beneath ? boundBeneath(beneath, outcome) : bound(opened, outcome));
    // Without this the library hands out a socket that plays the proxy's refusal back, as if the target had said it.
    if (answer?.statusCode === 200) return socket as Socket;
    socket.destroy();
    throw connectRefusal(answer ?? { statusCode: Number.NaN, headers: {} }, { route, target, hadCredentials: credentials !== null });
  } catch (error) {
    throw isGatewayError(error) ? error : proxyConnectError(error as Error, route);
  } finally {
    end();
  }
}

function basic({ username, password }: ProxyCredentials): Record<string, string> {
  return { 'Proxy-Authorization': `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

/** Runs `open` and catches the connection it makes at once: the library gives it out only when it has succeeded. */
function watchOpening<T>(open: () => Promise<T>): { outcome: Promise<T>; opened: Socket | undefined } {
  let opened: Socket | undefined;
  const seen = (message: unknown) => {
    opened = (message as { socket: Socket }).socket;
  };
  subscribe('net.client.socket', seen);
  try {
    const outcome = open();
    return { outcome, opened };
  } finally {
    unsubscribe('net.client.socket', seen);
  }
}

function endWith(signal: AbortSignal, socket: Socket): () => void {
  socket.on('error', () => {});
  return destroyOnAbort(signal, socket);
}

/** Gives `outcome`; ends `socket` when more arrives than an answer to CONNECT may have. */
async function bound<T>(socket: Socket | undefined, outcome: Promise<T>): Promise<T> {
  const check = () => {
    if (socket && socket.bytesRead > LARGEST_ANSWER_BYTES) socket.destroy(bareCause(ANSWER_TOO_LONG));
  };
  socket?.on('readable', check);
  try {
    return await outcome;
  } finally {
    socket?.off('readable', check);
  }
}

/** The same for the connection beneath a proxy's TLS, which says nothing of what is read, nor why it ended. */
function boundBeneath<T>(socket: Socket, outcome: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const look = setInterval(() => {
      if (socket.bytesRead > LARGEST_ANSWER_BYTES) {
        reject(bareCause(ANSWER_TOO_LONG));
        socket.destroy();
      }
      // Of a connection that was ended here the library hears nothing, and never settles.
      if (socket.destroyed) clearInterval(look);
    }, LOOK_EVERY_MS);
    outcome.then(resolve, reject).finally(() => clearInterval(look));
  });
}
