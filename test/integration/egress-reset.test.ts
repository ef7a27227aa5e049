// A body without a length that ends by a reset is an error, not a short answer.

import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import t from 'tap';
import { Agent, request } from 'undici';
import { createTestCa } from '../helpers/certificates.ts';
import { createTestEgress, dispatcherOver, listenFor } from '../helpers/egress.ts';
import { startConnectProxy } from '../helpers/proxies.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());

/** Answers with a body without length, and resets the TCP connection when told to. */
async function startCutting(t: Parameters<typeof listenFor>[0], secure: boolean) {
  const raws = new Map<number, net.Socket>();
  let cut = () => {};
  const answer = (socket: net.Socket, raw: () => net.Socket | undefined) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nthe first half');
      cut = () => void raw()?.resetAndDestroy();
    });
  };
  const server = secure
    ? tls.createServer(ca.issue(['localhost']), (socket) => answer(socket, () => raws.get(socket.remotePort ?? 0)))
    : net.createServer((socket) => answer(socket, () => socket));
  server.on('connection', (socket: net.Socket) => raws.set(socket.remotePort ?? 0, socket));
  return { port: await listenFor(t, server), cut: () => cut() };
}

for (const { name, secure, proxied } of [
  { name: 'plain', secure: false, proxied: false },
  { name: 'over TLS', secure: true, proxied: false },
  { name: 'over TLS through a proxy', secure: true, proxied: true },
]) {
  t.test(`a cut body is an error, ${name}`, async (t) => {
    const upstream = await startCutting(t, secure);
    const proxy = await startConnectProxy({
      // Resets the client's side when the far side is reset, as a kernel's NAT would.
      answer: (client) => {
        const far = net.connect(upstream.port, '127.0.0.1', () => {
          client.write('HTTP/1.1 200 OK\r\n\r\n');
          client.pipe(far, { end: false });
          far.pipe(client, { end: false });
        });
        far.on('error', () => client.resetAndDestroy());
      },
    });
    t.teardown(() => proxy.close());
    const egress = createTestEgress(t, {
      tls: { caFile: ca.caFile },
      proxy: { url: proxied ? `http://127.0.0.1:${proxy.port}` : null },
    });
    const { body } = await request(`${secure ? 'https' : 'http'}://localhost:${upstream.port}/`, {
      dispatcher: dispatcherOver(t, egress),
    });
    const [first] = await once(body, 'data');
    t.equal(String(first), 'the first half');
    const ended = new Promise((resolve) => {
      body.once('end', () => resolve('ended as if whole'));
      body.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    });
    upstream.cut();
    t.equal(await ended, 'GCG_RESET');
  });
}

t.test('undici’s own connector takes such a body for whole (when this fails, reset.ts may go)', async (t) => {
  const upstream = await startCutting(t, false);
  const agent = new Agent({ allowH2: false });
  t.teardown(() => agent.destroy());
  const { body } = await request(`http://localhost:${upstream.port}/`, { dispatcher: agent });
  await once(body, 'data');
  const ended = new Promise((resolve) => {
    body.once('end', () => resolve('ended as if whole'));
    body.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  upstream.cut();
  t.equal(await ended, 'ended as if whole');
});
