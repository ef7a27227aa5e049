// The token endpoint's way over the network: an answer without end is not read to its end.

import t from 'tap';
import { Agent } from 'undici';
import { createPost } from '../../../src/upstream/upstream.ts';
import { signal } from '../../helpers/raw-caller.ts';
import { startRawServer } from '../../helpers/raw-http.ts';

for (const [name, head] of [
  ['a length of 1 GiB', 'Content-Length: 1073741824'],
  ['no length', 'X-Kind: endless'],
] as const) {
  t.test(`an answer of ${name} is given up at the bound, and its connection closed`, async (t) => {
    const cut = signal();
    const { origin } = await startRawServer(t, (socket) => {
      socket.on('close', () => cut.fire());
      const pump = () => {
        while (socket.writable && socket.write(Buffer.alloc(64 * 1024, 32)));
      };
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`);
        socket.on('drain', pump);
        pump();
      });
    });
    const agent = new Agent();
    t.teardown(() => agent.destroy());
    const transport = createPost(agent);
    await t.rejects(
      transport({ url: `${origin}/oauth/token`, headers: [], body: '', timeoutMs: 60_000, maxBodyBytes: 65_536 }),
      {
        code: 'gateway.upstream.invalid',
        message: /larger than 65536 bytes/,
      },
    );
    await cut.fired;
  });
}
