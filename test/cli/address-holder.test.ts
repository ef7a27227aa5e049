// What is said of a program that holds an address which was to be opened, and how little it is believed.

import t from 'tap';
import { holderOf } from '../../src/cli/address-holder.ts';
import { VERSION } from '../../src/version.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { startGateway } from '../helpers/gateway.ts';
import { startRawServer } from '../helpers/raw-http.ts';

t.test('an address in use is told with who holds it', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const { certFile, keyFile } = ca.issue(['127.0.0.1']);
  const own = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
  for (const tls of [null, { certFile, keyFile, clientCaFile: null }]) {
    const { port } = await startGateway(t, { awaitReady: false, config: { server: { listen: [own], tls } } });
    t.equal(await holderOf({ ...own, port }), `gcg ${VERSION}, process ${process.pid}, which is running there already`);
  }
  const answers: Record<string, RegExp> = {
    'HTTP/1.1 404 Not Found\r\nServer: nginx\u001b[31m\r\n\r\n': /^another program/,
    'HTTP/1.1 404 Not Found\r\nServer: nginx/1\r\n\r\n': /^another program: .*\(HTTP 404, Server: nginx\/1\)$/,
    'HTTP/1.1 200 OK\r\nX-Gateway-Request-Id: 1\r\nContent-Length: 4\r\n\r\nnull': /^gcg, which is running/,
    'HTTP/1.1 200 OK\r\nX-Gateway-Request-Id: 1\r\n\r\n{"version":"\\u001b[2J","pid":"x"}': /^gcg {2}\[2J, which is/,
    '220 smtp\r\n': /^another program: something else answers there, and not in HTTP$/,
  };
  for (const [bytes, words] of Object.entries(answers)) {
    const { port } = await startRawServer(t, (socket) => socket.once('data', () => socket.end(bytes)));
    const holder = await holderOf({ ...own, port });
    t.match(holder, words);
    t.notMatch(holder, /\u001b/);
  }
  t.equal(await holderOf({ ...own, port: 1 }), 'another program');
});
