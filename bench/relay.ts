// A way as long as the one to a region: takes connections, opens one behind for each, and hands on what it gets half a
// round trip later. Opening a connection takes a round trip of its own: on loopback it takes none, so the first octets
// wait for it here. A process of its own.

import { connect, createServer, type Socket } from 'node:net';

const [upstreamPort = '', roundTripMs = '40'] = process.argv.slice(2);
const roundTrip = Number(roundTripMs);

/** Hands on from one to the other, in order, what came `delayMs` ago, and the end as well. */
function carry(from: Socket, to: Socket, notBefore: number): void {
  const later = (action: () => void) => {
    const wait = Math.max(0, notBefore - performance.now()) + roundTrip / 2;
    // Timers of equal length end in the order of their start; while the first octets wait, all wait for the same end.
    setTimeout(action, wait);
  };
  from.on('data', (chunk) => later(() => to.write(chunk)));
  from.on('end', () => later(() => to.end()));
  from.on('error', () => later(() => to.destroy()));
  from.on('close', () => later(() => to.destroy()));
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
  const behind = connect({ port: Number(upstreamPort), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  carry(caller, behind, performance.now() + roundTrip);
  carry(behind, caller, 0);
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }));
