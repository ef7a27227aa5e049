import { get } from 'node:https';
import { connect } from 'node:tls';
import t from 'tap';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { createTestCa } from '../helpers/certificates.ts';

t.test('with a certificate all three hosts are TLS, and connectUri is wss', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const { key, cert } = await ca.issue(['127.0.0.1']);
  const sandbox = createSandbox();
  const { origin, port } = await sandbox.listen({ tls: { key, cert } });
  t.teardown(() => sandbox.close());
  t.equal(origin, `https://127.0.0.1:${port}`);
  const headers = { Authorization: `Bearer ${sandbox.issueToken().value}` };
  const body = await new Promise<string>((resolve, reject) => {
    get(`${origin}/api/v2/notifications/channels`, { ca: ca.caPem, headers }, (response) => {
      response.setEncoding('utf8');
      response.once('data', resolve);
    }).once('error', reject);
  });
  t.same(JSON.parse(body), { entities: [] });
  const upgrade = await new Promise<string>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca: ca.caPem }, () =>
      socket.write('GET /channels/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
    );
    socket.once('data', (chunk) => resolve(chunk.toString()));
    socket.once('error', reject);
  });
  t.match(upgrade, /^HTTP\/1\.1 404 /);
});
