// CVE-2026-2229 of our HTTP client's WebSocket: a server that answers with impossible window bits ended the process.
// Sockets are carried here, not spoken: what the two ends agree on is theirs, and whatever is said of it does the
// gateway no harm.

import t from 'tap';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { openCaller } from '../helpers/raw-caller.ts';
import { acceptHandshake, makeChannel, startStreamingUpstream } from '../helpers/sockets.ts';

const WRONG = ['99999', '-1', '0', '7', '16', '""', 'x', '15; server_max_window_bits=8'];
/** A compressed frame of garbage, a frame with every reserved bit, and one of an unknown kind. */
const FRAMES = Buffer.from([0xc1, 0x03, 0xff, 0xff, 0xff, 0xf1, 0x00, 0x8b, 0x01, 0x00]);

t.test('impossible window bits, and frames that nobody can read, pass as they came', async (t) => {
  let bits = '';
  const upstream = await startStreamingUpstream(t, (request, socket) => {
    acceptHandshake(
      request,
      socket,
      `Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=${bits}\r\n`,
    );
    socket.write(FRAMES);
    socket.pipe(socket);
  });
  const { url, port } = await startGatewayWith(t, configAt(upstream.origin));
  for (bits of WRONG) {
    const { id } = await makeChannel(url);
    const caller = await openCaller(t, port);
    caller.socket.write(
      `GET /streaming/channels/${id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: ` +
        `Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: ` +
        `13\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=${bits}\r\n\r\n`,
    );
    await caller.until((received) => received.endsWith(FRAMES.toString('latin1')));
    t.match(caller.received(), /^HTTP\/1\.1 101 /, bits);
    t.match(caller.received().toLowerCase(), `server_max_window_bits=${bits}\r\n`);
    caller.socket.write(FRAMES);
    await caller.until((received) => received.split(FRAMES.toString('latin1')).length === 3);
    caller.socket.destroy();
  }
  t.equal((await fetch(`${url}/livez`)).status, 200, 'still there');
});
