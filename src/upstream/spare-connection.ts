// A connection that was opened in the background and that no request has used yet: watched until one does.

import type { Socket } from 'node:net';

/**
 * Owns the socket until `take` gives it away or it ends. Whoever makes it ends it. It keeps no process alive.
 */
export class SpareConnection {
  readonly socket: Socket;
  /** Monotonic ms. */
  readonly openedAt: number;
  readonly #onEnded: () => void;
  #isOver = false;

  /** `onEnded` is told once when the other side ends it, or breaks the rules by speaking first. */
  constructor(socket: Socket, openedAt: number, onEnded: () => void) {
    this.socket = socket;
    this.openedAt = openedAt;
    this.#onEnded = onEnded;
    // Reading is what tells that the other side has ended, and takes the tickets of TLS 1.3 in.
    socket.on('data', this.#over).on('end', this.#over).on('close', this.#over).on('error', this.#over);
    socket.unref();
    if (socket.destroyed) queueMicrotask(this.#over);
  }

  /** Gives the socket away, in the state that a dial leaves it in; null where it has ended. */
  take(): Socket | null {
    if (this.#isOver || this.socket.destroyed || this.socket.readableEnded) return null;
    this.#leave();
    return this.socket.pause().ref();
  }

  /** Ends it, untold. */
  end(): void {
    if (this.#isOver) return;
    this.#leave();
    this.socket.destroy();
  }

  readonly #over = (): void => {
    if (this.#isOver) return;
    this.end();
    this.#onEnded();
  };

  #leave(): void {
    this.#isOver = true;
    this.socket.off('data', this.#over).off('end', this.#over).off('close', this.#over).off('error', this.#over);
  }
}
