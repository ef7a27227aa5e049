// The way out without a proxy: verified TLS, one deadline, and errors that say what to change.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { promisify } from 'node:util';
import t from 'tap';
import { request } from 'undici';
import WebSocket, { WebSocketServer } from 'ws';
import { createTestCa } from '../helpers/certificates.ts';
import { createTestEgress, dispatcherOver, listenFor, startUpstream } from '../helpers/egress.ts';
import { freePort } from '../helpers/proxies.ts';

const ca = await createTestCa('Interception CA');
t.teardown(() => ca.close());
const trusting = { caFile: ca.caFile };
const DAY_MS = 86_400_000;

t.test('a certificate of tls.ca_file is accepted for its own names, and for no others', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost', 'api.region.test']));
  const egress = createTestEgress(t, { tls: trusting, hosts: { 'api.region.test': '127.0.0.1' } });
  const dispatcher = dispatcherOver(t, egress);
  for (const host of ['localhost', 'api.region.test']) {
    const answer = await request(`https://${host}:${upstream.port}/`, { dispatcher });
    t.equal(await answer.body.text(), 'hello');
  }
  await t.rejects(request(`https://127.0.0.1:${upstream.port}/`, { dispatcher }), {
    code: 'gateway.upstream.tls',
    message: /other names \(DNS:localhost, DNS:api\.region\.test\); issuer CN=Interception CA/,
  });
});

t.test('an untrusted certificate names its issuer and the setting', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const egress = createTestEgress(t);
  await t.rejects(egress.dial({ host: 'localhost', port: upstream.port, secure: true }), {
    code: 'gateway.upstream.tls',
    message: /issuer CN=Interception CA: add it to tls\.ca_file/,
  });
});

t.test('expired and not yet valid certificates are told apart', async (t) => {
  const expired = await startUpstream(
    t,
    ca.issue(['localhost'], { notAfter: new Date(Date.now() - DAY_MS), notBefore: new Date(Date.now() - 2 * DAY_MS) }),
  );
  const early = await startUpstream(t, ca.issue(['localhost'], { notBefore: new Date(Date.now() + DAY_MS) }));
  const egress = createTestEgress(t, { tls: trusting });
  const dial = (port: number) => egress.dial({ host: 'localhost', port, secure: true });
  await t.rejects(dial(expired.port), { code: 'gateway.upstream.tls', message: /has expired/ });
  await t.rejects(dial(early.port), { code: 'gateway.upstream.tls', message: /not valid yet/ });
});

t.test('a port that speaks no TLS is said to be one', async (t) => {
  const upstream = await startUpstream(t);
  const egress = createTestEgress(t);
  await t.rejects(egress.dial({ host: 'localhost', port: upstream.port, secure: true }), {
    code: 'gateway.upstream.tls',
    message: /does not speak TLS/,
  });
});

t.test('a refused connection is unreachable, without a third party’s error inside', async (t) => {
  const port = await freePort();
  const egress = createTestEgress(t);
  const error = await egress.dial({ host: '127.0.0.1', port, secure: false }).catch((reason) => reason);
  t.match(error, {
    code: 'gateway.upstream.unreachable',
    statusCode: 502,
    message: new RegExp(`127\\.0\\.0\\.1:${port}.*ECONNREFUSED`),
  });
  t.strictSame(Object.keys(error.cause), ['code']);
});

t.test('a handshake that never ends is cut off at timeouts.connect, and its connection closed', async (t) => {
  const server = net.createServer();
  const port = await listenFor(t, server);
  const accepted = once(server, 'connection');
  const egress = createTestEgress(t, { timeouts: { connectMs: 200 }, tls: trusting });
  const dialling = egress.dial({ host: 'localhost', port, secure: true });
  const [socket] = await accepted;
  socket.resume();
  await t.rejects(dialling, {
    code: 'gateway.upstream.timeout',
    statusCode: 504,
    message: /200 ms \(timeouts\.connect\) from localhost:\d+, in the TLS handshake/,
  });
  if (!socket.closed) await once(socket, 'close');
  t.pass('the late connection is gone');
});

t.test('closing ends what is being dialled', async (t) => {
  const server = net.createServer();
  const port = await listenFor(t, server);
  const egress = createTestEgress(t, { tls: trusting });
  const dialling = egress.dial({ host: 'localhost', port, secure: true });
  await once(server, 'connection');
  egress.close();
  await t.rejects(dialling, { code: 'gateway.draining' });
  await t.rejects(egress.dial({ host: 'localhost', port, secure: true }), { code: 'gateway.draining' });
});

t.test('NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const script = `
    import { createTestEgress } from './test/helpers/egress.ts';
    const egress = createTestEgress({ teardown() {} });
    const told = await egress.dial({ host: 'localhost', port: ${upstream.port}, secure: true })
      .then(() => 'connected', (error) => error.code);
    process.stdout.write(told);
    process.exit();`;
  const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env });
  t.equal(stdout, 'gateway.upstream.tls');
});

t.test('NODE_EXTRA_CA_CERTS counts', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const script = `
    import { createTestEgress } from './test/helpers/egress.ts';
    const egress = createTestEgress({ teardown() {} });
    const told = await egress.dial({ host: 'localhost', port: ${upstream.port}, secure: true })
      .then(() => 'connected', (error) => error.message);
    process.stdout.write(told);
    process.exit();`;
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: ca.caFile };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env });
  t.equal(stdout, 'connected');
});

t.test('an IPv6 literal is reached', async (t) => {
  const upstream = await startUpstream(t, undefined, '::1');
  const answer = await request(`http://[::1]:${upstream.port}/`, {
    dispatcher: dispatcherOver(t, createTestEgress(t)),
  });
  t.equal(await answer.body.text(), 'hello');
});

// Node 22.23 compares IPv6 addresses with a dot behind them.
const asShown = { subject: {}, subjectaltname: 'IP Address:0:0:0:0:0:0:0:1' } as tls.PeerCertificate;
const skip = tls.checkServerIdentity('::1', asShown)
  ? 'this version of Node refuses every certificate for an IPv6 address'
  : false;
t.test('an IPv6 literal is reached over TLS', { skip }, async (t) => {
  const upstream = await startUpstream(t, ca.issue(['::1']), '::1');
  const answer = await request(`https://[::1]:${upstream.port}/`, {
    dispatcher: dispatcherOver(t, createTestEgress(t, { tls: trusting })),
  });
  t.equal(await answer.body.text(), 'hello');
});

t.test('the agent carries a WebSocket of npm ws', async (t) => {
  const server = createServer(ca.issue(['localhost']));
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)));
  const port = await listenFor(t, server);
  const egress = createTestEgress(t, { tls: trusting });
  const client = new WebSocket(`wss://localhost:${port}/`, { agent: egress.agent({ secure: true }) });
  await once(client, 'open');
  client.send('hello');
  const [data] = await once(client, 'message');
  t.equal(String(data), 'echo hello');
  client.terminate();

  const refused = new WebSocket(`wss://localhost:${port}/`, { agent: createTestEgress(t).agent({ secure: true }) });
  const [error] = await once(refused, 'error');
  t.equal(error.code, 'gateway.upstream.tls');
});

t.test('nothing is read for a first dial without TLS', async (t) => {
  const upstream = await startUpstream(t);
  const egress = createTestEgress(t, { tls: { caFile: '/nonexistent/ca.pem' } });
  const answer = await request(`http://127.0.0.1:${upstream.port}/`, { dispatcher: dispatcherOver(t, egress) });
  t.equal(await answer.body.text(), 'hello');
  await t.rejects(egress.dial({ host: '127.0.0.1', port: upstream.port, secure: true }), {
    code: 'gateway.upstream.tls',
    message: /tls\.ca_file \/nonexistent\/ca\.pem cannot be read \(ENOENT\)/,
  });
});
