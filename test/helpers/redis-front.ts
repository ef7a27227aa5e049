// A TCP front before a server: it delays what passes, swallows it, cuts it, holds or loses a reply, changes what the
// server says, or leads elsewhere.

import net from 'node:net';
import type { Test } from 'tap';

/** A front on 127.0.0.1; what is set counts for open connections too. */
export interface RedisFront {
  readonly port: number;
  /** Each way, ms. */
  delayMs: number;
  /** Nothing passes, and nobody is told: as a firewall does. */
  isBlackHole: boolean;
  /** The port that new connections lead to. */
  target: number;
  /**
   * The reply to the next command with `to` in it comes only after `release`, with all that is behind it; or it is
   * lost: the server has done what it was told, and the connection ends. Null again once that command has passed.
   */
  reply: { readonly to: string; readonly is: 'held' | 'lost' } | null;
  /** What is passed on of what the server says. */
  change: (said: Buffer) => Buffer;
  /** How many connections were made. */
  readonly accepted: number;
  release(): void;
  /** Ends all connections. */
  cut(): void;
}

/** Starts one; it ends with `t`. */
export async function startFront(t: Test, target: number): Promise<RedisFront> {
  const sockets = new Set<net.Socket>();
  let held: (() => void)[] = [];
  const front: { -readonly [Key in keyof RedisFront]: RedisFront[Key] } = {
    port: 0,
    delayMs: 0,
    isBlackHole: false,
    target,
    reply: null,
    accepted: 0,
    change: (said) => said,
    release() {
      for (const go of held.splice(0)) go();
    },
    cut() {
      held = [];
      for (const socket of sockets) socket.destroy();
    },
  };
  const pass = (to: net.Socket, chunk: Buffer) => {
    if (front.isBlackHole) return;
    if (front.delayMs === 0) to.write(chunk);
    else setTimeout(() => to.write(chunk), front.delayMs);
  };
  const server = net.createServer((client) => {
    front.accepted += 1;
    const upstream = net.connect(front.target, '127.0.0.1');
    let next: 'passed' | 'held' | 'lost' = 'passed';
    client.on('data', (chunk) => {
      if (front.reply !== null && chunk.includes(front.reply.to)) {
        next = front.reply.is;
        front.reply = null;
      }
      pass(upstream, chunk);
    });
    upstream.on('data', (chunk) => {
      if (next === 'lost') client.destroy();
      else if (next === 'passed') pass(client, front.change(chunk));
      else {
        held.push(() => {
          next = 'passed';
          pass(client, front.change(chunk));
        });
      }
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('close', () => other.destroy());
      one.on('error', () => {});
      sockets.add(one);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  front.port = (server.address() as net.AddressInfo).port;
  t.teardown(() => {
    front.cut();
    server.close();
  });
  return front;
}
