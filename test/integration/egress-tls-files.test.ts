// The files of [tls]: extra authorities, our own certificate, and what happens when they change.

import { spawn } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import t from 'tap';
import { request } from 'undici';
import { systemClock } from '../../src/clock.ts';
import { inlineSecret } from '../../src/secret.ts';
import { toGatewayError } from '../../src/upstream/errors.ts';
import { openSocket } from '../../src/upstream/websocket/open-socket.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { createTestEgress, dispatcherOver, listenFor, startUpstream, type TearsDown } from '../helpers/egress.ts';
import { missingProgram, startConnectProxy } from '../helpers/proxies.ts';

const ca = await createTestCa('First CA');
const other = await createTestCa('Second CA');
t.teardown(() => ca.close());
t.teardown(() => other.close());
const ofSystem = await createTestCa("The System's CA");
t.teardown(() => ofSystem.close());
// Read by Node once, when somebody asks for the system's authorities.
process.env.SSL_CERT_FILE = ofSystem.caFile;
t.teardown(() => delete process.env.SSL_CERT_FILE);
const folder = mkdtempSync(join(tmpdir(), 'gcg-tls-'));
t.teardown(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
  return path;
}

/** Answers with the CN of the client's certificate; without one there is no handshake. */
async function startMutual(t: TearsDown): Promise<number> {
  const server = https.createServer(
    { ...ca.issue(['localhost']), requestCert: true, ca: ca.caPem, maxVersion: 'TLSv1.2' },
    (req, res) => {
      res.end((req.socket as TLSSocket).getPeerCertificate().subject.CN);
    },
  );
  return listenFor(t, server);
}

async function get(t: TearsDown, egress: ReturnType<typeof createTestEgress>, port: number): Promise<string> {
  const answer = await request(`https://localhost:${port}/`, {
    dispatcher: dispatcherOver(t, egress),
    headers: { connection: 'close' },
  });
  return answer.body.text();
}

t.test('ca_file may hold several certificates and text between them', async (t) => {
  const first = await startUpstream(t, ca.issue(['localhost']));
  const second = await startUpstream(t, other.issue(['localhost']));
  const caFile = file('two.pem', `# corporate\n${ca.caPem}\nsome text\n${other.caPem}`);
  const egress = createTestEgress(t, { tls: { caFile } });
  t.equal(await get(t, egress, first.port), 'hello');
  t.equal(await get(t, egress, second.port), 'hello');
});

t.test(
  'what the system alone trusts is trusted at the first call, beside ca_file',
  { skip: process.platform === 'win32' || process.platform === 'darwin' ? 'its authorities are in no file' : false },
  async (t) => {
    const upstream = await startUpstream(t, ofSystem.issue(['localhost']));
    const known = await startUpstream(t, ca.issue(['localhost']));
    const stranger = await startUpstream(t, other.issue(['localhost']));
    const egress = createTestEgress(t, { tls: { caFile: ca.caFile } });
    t.strictSame(
      await Promise.all([upstream, known, upstream, upstream].map(({ port }) => get(t, egress, port))),
      Array(4).fill('hello'),
      'of several at once as well',
    );
    const before = upstream.connections();
    t.equal(await get(t, egress, upstream.port), 'hello');
    t.equal(await get(t, egress, known.port), 'hello');
    t.equal(upstream.connections(), before + 1, 'from then on without a second handshake');
    t.equal(known.connections(), 2, 'which what ca_file trusts never needs');
    await t.rejects(get(t, egress, stranger.port), { code: 'gateway.upstream.tls', message: /Second CA/ });

    const proxy = await startConnectProxy({ tls: ofSystem.issue(['localhost']) });
    t.teardown(() => proxy.close());
    const behind = createTestEgress(t, { proxy: { url: `https://localhost:${proxy.port}` } });
    t.equal(await get(t, behind, upstream.port), 'hello', 'a proxy over TLS, and what is behind it');
    await t.rejects(get(t, behind, stranger.port), { code: 'gateway.upstream.tls' });
  },
);

t.test('what Node itself trusts is trusted at the first call, beside ca_file and without one', async (t) => {
  const ofNode = await createTestCa("Node's CA");
  t.teardown(() => ofNode.close());
  const before = getCACertificates('default');
  setDefaultCACertificates([ofNode.caPem]);
  t.teardown(() => setDefaultCACertificates(before));
  const upstream = await startUpstream(t, ofNode.issue(['localhost']));
  const stranger = await startUpstream(t, other.issue(['localhost']));
  for (const tls of [{ caFile: ca.caFile }, {}]) {
    const egress = createTestEgress(t, { tls });
    t.equal(await get(t, egress, upstream.port), 'hello');
    const dialled = upstream.connections();
    t.equal(await get(t, egress, upstream.port), 'hello');
    t.equal(upstream.connections(), dialled + 1, 'from then on without a second handshake');
    await t.rejects(get(t, egress, stranger.port), { code: 'gateway.upstream.tls', message: /Second CA/ });
  }
});

t.test('a changed ca_file counts for new connections, in both directions', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const caFile = file('changing.pem', other.caPem);
  const egress = createTestEgress(t, { tls: { caFile } });
  await t.rejects(get(t, egress, upstream.port), { code: 'gateway.upstream.tls' });
  file('changing.pem', ca.caPem);
  t.equal(await get(t, egress, upstream.port), 'hello');
  t.equal(await get(t, egress, upstream.port), 'hello', 'with a session to resume');
  file('changing.pem', other.caPem);
  await t.rejects(get(t, egress, upstream.port), { code: 'gateway.upstream.tls' }, 'withdrawn trust is not resumed');
});

t.test('a ca_file that turns bad is logged once, and the last good one stays', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const caFile = file('turning.pem', ca.caPem);
  const errors: unknown[] = [];
  const log = { warn() {}, info() {}, debug() {}, error: (fields: unknown) => void errors.push(fields) };
  const egress = createTestEgress(t, { tls: { caFile }, log });
  t.equal(await get(t, egress, upstream.port), 'hello');
  file('turning.pem', 'half a certif');
  t.equal(await get(t, egress, upstream.port), 'hello');
  t.equal(await get(t, egress, upstream.port), 'hello');
  t.match(errors, [{ problem: /turning\.pem holds no certificate/ }]);
  t.equal(errors.length, 1);
});

t.test('an unusable ca_file is a clear error', async (t) => {
  const dial = (caFile: string) =>
    createTestEgress(t, { tls: { caFile } }).dial({ host: 'localhost', port: 1, secure: true });
  await t.rejects(dial(join(folder, 'absent.pem')), {
    code: 'gateway.upstream.tls',
    message: /tls\.ca_file .*absent\.pem cannot be read \(ENOENT\)/,
  });
  await t.rejects(dial(file('empty.pem', '')), { message: /holds no certificate/ });
  const damaged = ca.caPem.replace(/\n[^\n]+\n[^\n]+\n-----END/, '\nAAAA\n-----END');
  await t.rejects(dial(file('damaged.pem', `${other.caPem}${damaged}`)), { message: /certificate 2 of 2 is damaged/ });
});

t.test('our certificate is shown, with an encrypted key, and a renewed one counts', async (t) => {
  const port = await startMutual(t);
  const one = ca.issue(['gateway-one'], { passphrase: 'opensesame' });
  const certFile = file('client.pem', one.cert);
  const keyFile = file('client.key', one.key);
  const tls = { caFile: ca.caFile, certFile, keyFile, keyPassphrase: inlineSecret('opensesame', 'the test') };
  const egress = createTestEgress(t, { tls });
  t.equal(await get(t, egress, port), 'gateway-one');
  const two = ca.issue(['gateway-two'], { passphrase: 'opensesame' });
  file('client.pem', two.cert);
  t.equal(await get(t, egress, port), 'gateway-one', 'a certificate without its key does not break the old pair');
  file('client.key', two.key);
  t.equal(await get(t, egress, port), 'gateway-two');

  const wrong = createTestEgress(t, { tls: { ...tls, keyPassphrase: inlineSecret('passphrase-canary', 'the test') } });
  const error = await wrong.dial({ host: 'localhost', port, secure: true }).catch((reason) => reason);
  t.match(error, {
    code: 'gateway.upstream.tls',
    message: /tls\.cert_file .* cannot be used together.*tls\.key_passphrase/,
  });
  t.notMatch(error.message, /canary/);
});

t.test('an upstream that wants a certificate and gets none says so', async (t) => {
  const port = await startMutual(t);
  const egress = createTestEgress(t, { tls: { caFile: ca.caFile } });
  await t.rejects(egress.dial({ host: 'localhost', port, secure: true }), {
    code: 'gateway.upstream.tls',
    message: /set tls\.cert_file and tls\.key_file/,
  });
});

const OPENSSL = '/usr/bin/openssl';

/**
 * OpenSSL's own server: TLS 1.3, and an alert when our certificate is none or not right. Node's server just hangs up.
 */
async function startStrict(t: TearsDown): Promise<number> {
  const { certFile, keyFile } = ca.issue(['localhost']);
  const args = [
    's_server',
    '-accept',
    '127.0.0.1:0',
    '-cert',
    certFile,
    '-key',
    keyFile,
    '-CAfile',
    ca.caFile,
    '-tls1_3',
    '-www',
  ];
  const child = spawn(OPENSSL, [...args, '-Verify', '1', '-verify_return_error'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(() => child.kill());
  let said = '';
  for await (const chunk of child.stdout) {
    said += chunk;
    const port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1];
    if (port !== undefined) return Number(port);
  }
  throw new Error(`openssl s_server ended: ${said}`);
}

t.test(
  'a certificate that is refused when the handshake is over for us',
  { skip: missingProgram(OPENSSL) ?? false },
  async (t) => {
    const port = await startStrict(t);
    const old = ca.issue(['gateway'], { notAfter: new Date(Date.now() - 60_000) });
    for (const { own, message } of [
      { own: {}, message: /if it wants a client certificate, set tls\.cert_file/ },
      {
        own: { certFile: old.certFile, keyFile: old.keyFile },
        message: /does not accept our client certificate .*renew tls\.cert_file/,
      },
    ]) {
      const egress = createTestEgress(t, { tls: { caFile: ca.caFile, ...own } });
      const call = await request(`https://localhost:${port}/`, { dispatcher: dispatcherOver(t, egress) }).catch(
        (error) => toGatewayError(error, 'it'),
      );
      t.match(call, { code: 'gateway.upstream.tls', message }, 'a call');
      const socket = { url: new URL(`wss://localhost:${port}/`), key: '', headers: [] };
      const deps = { egress, clock: systemClock, headersMs: 10_000, signal: new AbortController().signal };
      await t.rejects(openSocket(socket, deps), { code: 'gateway.upstream.tls', message }, 'a socket');
    }
  },
);
