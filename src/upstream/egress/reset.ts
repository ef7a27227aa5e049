// Makes visible to undici how a connection broke: it takes a body without length that ends by ECONNRESET as complete, and forgets a TLS alert
// over the end of the connection that follows it.

import type { Socket } from 'node:net';

/** The code a reset has on sockets of ours, instead of ECONNRESET. */
const RESET_CODE = 'GCG_RESET';

/**
 * Renames ECONNRESET on `socket` before any later listener sees it, and ends it at once after an alert: with TLS 1.3 the other side refuses our
 * certificate when the handshake is over for us. To be called before the socket is handed out.
 */
export function markResets<T extends Socket>(socket: T): T {
  return socket.prependListener('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET') error.code = RESET_CODE;
    else if (error.code?.startsWith('ERR_SSL_')) socket.destroy();
  });
}
