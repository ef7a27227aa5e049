// TLS sessions of connections to the upstream: resumed where the same name was verified by the same trust, and nowhere
// else. The server says which were.

import { appendFileSync, copyFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { dirname, join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import type { Egress } from '../../src/upstream/egress/egress.ts';
import { TlsSessions } from '../../src/upstream/egress/tls-sessions.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { createTestEgress, listenFor, type TestEgressOptions } from '../helpers/egress.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { startConnectProxy, startSocksProxy } from '../helpers/proxies.ts';

const HOUR_MS = 3_600_000;
const HOSTS = { 'one.test': '127.0.0.1', 'two.test': '127.0.0.1' };

const ca = await createTestCa();
const otherCa = await createTestCa('Another CA');
t.teardown(() => ca.close());
t.teardown(() => otherCa.close());
const ofClient = [await ca.issue(['client one']), await ca.issue(['client two'])] as const;

interface Scene {
  readonly port: number;
  readonly server: https.Server;
  /** Of each handshake, in their order: whether it resumed a session, and whose certificate the client has shown. */
  readonly seen: { resumed: boolean; client: string | undefined }[];
}

async function startServer(t: Test, options: https.ServerOptions = {}, notAfter?: Date): Promise<Scene> {
  const { key, cert } = await ca.issue(['one.test', '127.0.0.1'], notAfter && { notAfter });
  const server = https.createServer({ key, cert, ...options }, (_request, response) => void response.end('hello'));
  const seen: Scene['seen'] = [];
  server.on('secureConnection', (socket: TLSSocket) => {
    const { subject } = socket.getPeerCertificate();
    seen.push({ resumed: socket.isSessionReused(), client: subject?.CN as string | undefined });
  });
  return { port: await listenFor(t, server, '0.0.0.0'), server, seen };
}

/** One connection, until the tickets of its handshake have come. */
async function connectOnce(egress: Egress, port: number, host = 'one.test'): Promise<void> {
  const socket = await egress.dial({ host, port, secure: true });
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject).once('data', () => resolve());
    socket.write('GET / HTTP/1.1\r\nHost: one.test\r\n\r\n');
  });
  socket.destroy();
}

const REFUSED = { code: 'gateway.upstream.tls' };

/** Before, and between the two connections; what becomes of the second. */
interface Row {
  readonly server?: https.ServerOptions;
  readonly endsInHours?: number;
  readonly egress?: (t: Test, files: Files) => Promise<TestEgressOptions> | TestEgressOptions;
  readonly between?: (scene: Scene, files: Files) => unknown;
  /** Of both connections; that of the second, where it is another. */
  readonly host?: string;
  readonly second?: { host?: string; egress?: 'another'; port?: 'another' };
  readonly outcome: 'resumed' | 'whole' | 'refused';
}

type Files = ReturnType<typeof createFiles>;

function createFiles(t: Test) {
  const folder = t.testdir();
  const [caFile, certFile, keyFile] = ['ca.pem', 'client.pem', 'client.key'].map((name) => join(folder, name));
  const files = { caFile, certFile, keyFile } as Record<'caFile' | 'certFile' | 'keyFile', string>;
  const clock = createFakeClock(Date.now());
  copyFileSync(ca.caFile, files.caFile);
  const showClient = (nth: 0 | 1) => {
    copyFileSync(ofClient[nth].certFile, files.certFile);
    copyFileSync(ofClient[nth].keyFile, files.keyFile);
  };
  showClient(0);
  return { ...files, clock, showClient };
}

const MUTUAL = { requestCert: true, ca: ca.caPem };

const ROWS: Record<string, Row> = {
  'the same host, over TLS 1.3': { outcome: 'resumed' },
  'the same host, over TLS 1.2': { server: { maxVersion: 'TLSv1.2' }, outcome: 'resumed' },
  'over a tunnel of an HTTP proxy': {
    async egress(t) {
      const proxy = await startConnectProxy({ resolve: () => '127.0.0.1' });
      t.teardown(() => proxy.close());
      return { proxy: { url: `http://127.0.0.1:${proxy.port}` } };
    },
    outcome: 'resumed',
  },
  'over a tunnel of a SOCKS proxy': {
    async egress(t) {
      const proxy = await startSocksProxy({ resolve: () => '127.0.0.1' });
      t.teardown(() => proxy.close());
      return { proxy: { url: `socks5://127.0.0.1:${proxy.port}` } };
    },
    outcome: 'resumed',
  },
  'over a tunnel that a PAC script names': {
    async egress(t, { caFile }) {
      const proxy = await startConnectProxy({ resolve: () => '127.0.0.1' });
      t.teardown(() => proxy.close());
      const script = join(dirname(caFile), 'proxy.pac');
      writeFileSync(script, `function FindProxyForURL() { return 'PROXY 127.0.0.1:${proxy.port}'; }`);
      return { proxy: { url: `pac+${pathToFileURL(script)}` } };
    },
    outcome: 'resumed',
  },
  'with the same client certificate': {
    server: MUTUAL,
    egress: (_t, { certFile, keyFile }) => ({ tls: { certFile, keyFile } }),
    outcome: 'resumed',
  },
  'with another client certificate in the same file': {
    server: MUTUAL,
    egress: (_t, { certFile, keyFile }) => ({ tls: { certFile, keyFile } }),
    between: (_scene, { showClient }) => showClient(1),
    outcome: 'whole',
  },
  'after the CAs in the file have changed': {
    between: (_scene, { caFile }) => copyFileSync(otherCa.caFile, caFile),
    outcome: 'refused',
  },
  'after the CAs have changed, over TLS 1.2': {
    server: { maxVersion: 'TLSv1.2' },
    between: (_scene, { caFile }) => copyFileSync(otherCa.caFile, caFile),
    outcome: 'refused',
  },
  'by the egress of another configuration': { second: { egress: 'another' }, outcome: 'whole' },
  'a name that the certificate is not for, at the same address': { second: { host: 'two.test' }, outcome: 'refused' },
  'an address that the certificate is not for': {
    host: '127.0.0.1',
    second: { host: '127.0.0.2' },
    outcome: 'refused',
  },
  'another port of the same name': { second: { port: 'another' }, outcome: 'whole' },
  'a server that has forgotten its tickets': {
    between: ({ server }) => server.setTicketKeys(Buffer.alloc(48, 7)),
    outcome: 'whole',
  },
  'just under a day later': {
    between: (_scene, { clock }) => clock.stepWall(24 * HOUR_MS - 60_000),
    outcome: 'resumed',
  },
  'a day later: the certificate is verified again': {
    between: (_scene, { clock }) => clock.stepWall(24 * HOUR_MS),
    outcome: 'whole',
  },
  'after the certificate has ended': {
    endsInHours: 2,
    between: (_scene, { clock }) => clock.stepWall(2 * HOUR_MS),
    outcome: 'whole',
  },
};

for (const [name, row] of Object.entries(ROWS)) {
  t.test(`a second connection: ${name}`, async (t) => {
    const notAfter = row.endsInHours === undefined ? undefined : new Date(Date.now() + row.endsInHours * HOUR_MS);
    // A server accepts a ticket only with the session id context that it gave it with.
    const options = { sessionIdContext: 'test', ticketKeys: Buffer.alloc(48, 1), ...row.server };
    const scene = await startServer(t, options, notAfter);
    const files = createFiles(t);
    const { caFile, clock } = files;
    const { tls, ...rest } = (await row.egress?.(t, files)) ?? {};
    const createEgress = () =>
      createTestEgress(t, { clock, hosts: HOSTS, ...rest, tls: { caFile, ...(tls as object) } });
    const egress = createEgress();
    await connectOnce(egress, scene.port, row.host);
    t.equal(scene.seen[0]?.resumed, false);
    await row.between?.(scene, files);
    const by = row.second?.egress === 'another' ? createEgress() : egress;
    const at = row.second?.port === 'another' ? await startServer(t, options) : scene;
    const second = connectOnce(by, at.port, row.second?.host ?? row.host);
    if (row.outcome === 'refused') {
      await t.rejects(second, REFUSED);
      return;
    }
    await second;
    t.equal(at.seen.at(-1)?.resumed, row.outcome === 'resumed');
    if (row.server === MUTUAL) t.equal(at.seen.at(-1)?.client, row.between ? 'client two' : 'client one');
  });
}

t.test('of several tickets each is used once, the newest first, and the last one again', (t) => {
  const sessions = new TlsSessions(() => 0);
  for (const name of ['a', 'b', 'c', 'd', 'e']) sessions.keep('host', Buffer.from(name), undefined, HOUR_MS);
  const taken = Array.from({ length: 6 }, () => sessions.take('host')?.ticket.toString());
  t.same(taken, ['e', 'd', 'c', 'b', 'b', 'b'], 'and no more are kept than a server gives');
  sessions.forget('host');
  t.equal(sessions.take('host'), undefined);
  t.end();
});

t.test('tickets of resumed connections end with the verification that the first one made', (t) => {
  let now = 0;
  const sessions = new TlsSessions(() => now);
  sessions.keep('host', Buffer.from('first'), undefined, 100 * HOUR_MS);
  for (let hours = 0; hours < 23; hours += 1) {
    const resumed = sessions.take('host');
    t.ok(resumed);
    now += HOUR_MS;
    sessions.keep('host', Buffer.from(`after ${hours} hours`), resumed, 100 * HOUR_MS);
  }
  now += HOUR_MS;
  t.equal(sessions.take('host'), undefined);
  t.end();
});

t.test('what was verified by the trust files of before is told apart', async (t) => {
  const { port } = await startServer(t);
  const { caFile, clock } = createFiles(t);
  const egress = createTestEgress(t, { clock, hosts: HOSTS, tls: { caFile } });
  const before = await egress.dial({ host: 'one.test', port, secure: true });
  t.teardown(() => before.destroy());
  t.equal(egress.trusted()(before), true);
  appendFileSync(caFile, otherCa.caPem);
  const isTrusted = egress.trusted();
  t.equal(isTrusted(before), false);
  const after = await egress.dial({ host: 'one.test', port, secure: true });
  t.teardown(() => after.destroy());
  t.equal(isTrusted(after), true);
  writeFileSync(caFile, 'not a certificate');
  t.equal(egress.trusted()(after), true, 'a file that cannot be used changes nothing');
});
