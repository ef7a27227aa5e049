// Opens one TCP connection, with happy eyeballs, and ends it when told to. Knows no proxy, no TLS and no deadline; errors pass as they are.

import { type LookupFunction, connect as netConnect, type Socket } from 'node:net';
import { destroyOnAbort } from './attempt.ts';

export interface TcpOptions {
  readonly host: string;
  readonly port: number;
  readonly signal: AbortSignal;
  readonly lookup?: LookupFunction | undefined;
}

/** Resolves with a connected socket, which is the caller's from then on. Aborting destroys a socket that is not there yet. Its errors end no process. */
export function openTcp({ host, port, signal, lookup }: TcpOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = netConnect({ host, port, autoSelectFamily: true, ...(lookup && { lookup }) });
    const release = destroyOnAbort(signal, socket);
    const failed = (error: Error) => {
      release();
      reject(error);
    };
    // The first of the two is for life: between two owners nobody else listens, and an error that nobody hears ends the process.
    socket.on('error', () => {});
    socket.once('error', failed);
    socket.once('close', () => failed(Object.assign(new Error('closed'), { code: 'ECONNABORTED' })));
    socket.once('connect', () => {
      release();
      socket.removeAllListeners('close');
      socket.off('error', failed);
      resolve(socket);
    });
  });
}
