// A command that is under way when the gateway ends does not outlive it.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { startServe } from '../helpers/serve-process.ts';

t.test('a hanging assertion_command ends with the gateway', async (t) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const config = join(t.testdir(), 'gcg.ini');
  const hang = `require('node:net').connect(${port}, '127.0.0.1')`;
  writeFileSync(
    config,
    [
      ...[
        '[server]',
        'listen = 127.0.0.1:0',
        '[credential]',
        'grant_type = saml2_bearer',
        'client_id = an-id',
        'client_secret = a-secret',
      ],
      ...[
        'org_name = acme',
        `assertion_command[] = ${process.execPath}`,
        'assertion_command[] = -e',
        `assertion_command[] = "${hang}"`,
      ],
    ].join('\n'),
    { mode: 0o600 },
  );
  const connected = once(server, 'connection') as Promise<[Socket]>;
  const gateway = await startServe(t, config);
  const [socket] = await connected;
  const closed = once(socket, 'close');
  socket.on('error', () => {}).resume();
  t.equal(await gateway.end('SIGTERM'), 0);
  await closed;
  t.pass('the command is gone too');
});
