// Makes a reset visible to undici: it takes a body without length that ends by ECONNRESET as complete, and passes on a cut answer as whole.

import type { Socket } from 'node:net';

/** The code a reset has on sockets of ours, instead of ECONNRESET. */
const RESET_CODE = 'GCG_RESET';

/** Renames ECONNRESET on `socket` before any later listener sees it: call it before the socket is handed out. */
export function markResets<T extends Socket>(socket: T): T {
  return socket.prependListener('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET') error.code = RESET_CODE;
  });
}
