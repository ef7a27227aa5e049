// A caller by hand, whose connection the test holds in its own hands, and the other end of it as the upstream sees it.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';

/** A connection to the gateway; what comes back gathers in `received`. */
export interface RawCaller {
  readonly socket: Socket;
  readonly received: () => string;
  /** Resolves once `received` matches; rejects when the connection ends first. */
  until(matches: (received: string) => boolean): Promise<void>;
}

/** Connects; the connection ends with the test. */
export async function openCaller(t: Test, port: number): Promise<RawCaller> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  t.teardown(() => socket.destroy());
  let received = '';
  socket.on('error', () => {}).setEncoding('latin1');
  socket.on('data', (text: string) => {
    received += text;
  });
  return {
    socket,
    received: () => received,
    async until(matches) {
      while (!matches(received)) {
        const ended = new AbortController();
        await Promise.race([
          once(socket, 'data', { signal: ended.signal }),
          once(socket, 'close', { signal: ended.signal }).then(() => {
            if (!matches(received))
              throw new Error(`the connection ended after ${JSON.stringify(received.slice(-200))}`);
          }),
        ]).finally(() => ended.abort());
      }
    },
  };
}

/** Resolves when `socket` is closed, past or future. */
export async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await once(socket, 'close');
}

/** What resolves when the test calls `fire`. */
export function signal<T = void>(): { readonly fired: Promise<T>; fire(value: T): void } {
  let fire!: (value: T) => void;
  const fired = new Promise<T>((resolve) => {
    fire = resolve;
  });
  return { fired, fire };
}
