// A TCP front before a server: it delays what passes, swallows it, cuts it, or leads elsewhere.

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
  /** How many connections were made. */
  readonly accepted: number;
  /** Ends all connections. */
  cut(): void;
}

/** Starts one; it ends with `t`. */
export async function startFront(t: Test, target: number): Promise<RedisFront> {
  const sockets = new Set<net.Socket>();
  const front = { port: 0, delayMs: 0, isBlackHole: false, target, accepted: 0, cut };
  function cut() {
    for (const socket of sockets) socket.destroy();
  }
  const pass = (from: net.Socket, to: net.Socket) => {
    from.on('data', (chunk) => {
      if (front.isBlackHole) return;
      if (front.delayMs === 0) to.write(chunk);
      else setTimeout(() => to.write(chunk), front.delayMs);
    });
    from.on('close', () => to.destroy());
    from.on('error', () => {});
    sockets.add(from);
  };
  const server = net.createServer((client) => {
    front.accepted += 1;
    const upstream = net.connect(front.target, '127.0.0.1');
    pass(client, upstream);
    pass(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  front.port = (server.address() as net.AddressInfo).port;
  t.teardown(() => {
    cut();
    server.close();
  });
  return front;
}
