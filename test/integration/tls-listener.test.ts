import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { get, type RequestOptions } from 'node:https';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { createTestCa } from '../helpers/certificates.ts';
import { basic, clientNamed } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';

const ca = await createTestCa('Server CA');
const clientCa = await createTestCa('Client CA');
t.teardown(() => ca.close());
t.teardown(() => clientCa.close());
const server = ca.issue(['localhost', '127.0.0.1']);
const crm = clientCa.issue(['crm.internal'], { commonName: 'crm' });

/** One GET over TLS, on a connection of its own. */
function ask(
  port: number,
  options: RequestOptions = {},
): Promise<{ status: number; code: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const request = get(
      { host: '127.0.0.1', port, path: '/api/v2/users', ca: ca.caPem, agent: false, ...options },
      (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (chunk) => {
          body += chunk;
        });
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            code: answer.headers['x-gateway-error'] as string | undefined,
            body,
          }),
        );
      },
    );
    request.on('error', reject);
  });
}

const withTls = (t: Test, clients: Parameters<typeof clientNamed>[] = [], files = server) =>
  startGateway(t, {
    config: {
      clients: clients.map((args) => clientNamed(...args)),
      server: { tls: { certFile: files.certFile, keyFile: files.keyFile, clientCaFile: clientCa.caFile } },
    },
  });

t.test('a certificate whose subject is configured is a client, and its records name it', async (t) => {
  const { port, log, url } = await withTls(t, [['crm', { secret: null, certSubject: 'CN=crm' }]]);
  t.match(url, /^https:/);
  t.match(await ask(port, { key: crm.key, cert: crm.cert }), { status: 200 });
  t.equal((await log.nextExchange()).client, 'crm');
});

t.test('no certificate, one of another CA, and one with another subject prove nothing', async (t) => {
  const { port } = await withTls(t, [['crm', { secret: null, certSubject: 'crm' }]]);
  const stranger = ca.issue(['crm.internal'], { commonName: 'crm' });
  const other = clientCa.issue(['erp.internal'], { commonName: 'erp' });
  t.match(await ask(port), { status: 401, code: 'gateway.client.unauthenticated' }, 'no certificate');
  t.match(await ask(port, { key: stranger.key, cert: stranger.cert }), { status: 401 }, 'another CA');
  t.match(await ask(port, { key: other.key, cert: other.cert }), { status: 401 }, 'another subject');
  t.match(await ask(port, { key: crm.key, cert: crm.cert }), { status: 200 }, 'the right one');
});

t.test('a client CA without clients lets in whoever has a certificate of it, and nobody else', async (t) => {
  const { port } = await withTls(t);
  t.match(await ask(port, { key: crm.key, cert: crm.cert }), { status: 200 });
  t.match(await ask(port), { status: 401 });
});

t.test('a secret is as good over TLS, and a secret of another client than the certificate is refused', async (t) => {
  const { port } = await withTls(t, [['crm', { secret: null, certSubject: 'crm' }], ['erp']]);
  t.match(await ask(port, { headers: { authorization: 'Bearer erp-secret' } }), { status: 200 });
  t.match(await ask(port, { key: crm.key, cert: crm.cert, headers: { authorization: basic('erp', 'erp-secret') } }), {
    status: 403,
    code: 'gateway.client.forbidden',
  });
});

t.test('health needs no certificate', async (t) => {
  const { port } = await withTls(t);
  t.match(await ask(port, { path: '/readyz' }), { status: 200 });
});

t.test(
  'a renewed certificate is used for new connections, without cutting the old, and a broken pair is not',
  async (t) => {
    const files = ca.issue(['localhost', '127.0.0.1']);
    const { port, log } = await withTls(t, [], files);
    const seen = async () => {
      const socket = connect({ host: '127.0.0.1', port, ca: ca.caPem });
      await once(socket, 'secureConnect');
      return { socket, serial: socket.getPeerCertificate().serialNumber };
    };
    const before = await seen();
    const renewed = ca.issue(['localhost', '127.0.0.1']);
    copyFileSync(renewed.certFile, files.certFile);
    await log.nextLine('new certificate cannot be used');
    t.equal((await seen()).serial, before.serial, 'the certificate alone does not match its key');
    copyFileSync(renewed.keyFile, files.keyFile);
    await log.nextLine('certificate was read again');
    t.not((await seen()).serial, before.serial);
    before.socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [answer] = (await once(before.socket, 'data')) as [Buffer];
    t.match(answer.toString(), /^HTTP\/1\.1 200 /, 'the old connection lives on');
  },
);

t.test('a certificate that cannot be read is named at the start', async (t) => {
  await t.rejects(withTls(t, [], { ...server, certFile: '/nowhere/server.crt' }), {
    message: /server\.tls\.cert_file: \/nowhere\/server\.crt cannot be read/,
  });
});
