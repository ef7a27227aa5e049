// Channel ids and what opens a channel are secrets: no record shows them, at any level and in either format.

import { Writable } from 'node:stream';
import t from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { createLogger } from '../../src/logging/logger.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { clientNamed } from '../helpers/clients.ts';
import { configAt } from '../helpers/gateway.ts';
import { closeOf, makeChannel, openWebSocket, refusalOf } from '../helpers/sockets.ts';

for (const format of ['json', 'text'] as const) {
  t.test(`in ${format}`, async (t) => {
    const sandbox = createSandbox();
    const { origin } = await sandbox.listen();
    t.teardown(() => sandbox.close());
    let written = '';
    const stdout = new Writable({
      write(chunk, _encoding, done) {
        written += chunk;
        done();
      },
    });
    const logging = {
      level: 'trace',
      format,
      toConsole: true,
      filePath: null,
      requestBody: true,
      responseBody: true,
      bodyMaxBytes: 65_536,
    } as const;
    const logger = createLogger(logging, { stdout });
    const gateway = await createGateway(configAt(origin, { logging, clients: [clientNamed('crm')] }), {
      log: logger,
      env: {},
    });
    t.teardown(() => gateway.drain());
    const [url = ''] = await gateway.listen();
    const { id, connectUri } = await makeChannel(url, { authorization: 'Bearer crm-secret' });
    const token = new URL(connectUri).searchParams.get('token') ?? 'none';
    const socket = await openWebSocket(t, connectUri);
    const closed = closeOf(socket);
    socket.close(1000);
    await closed;
    await refusalOf(`${connectUri}x`);
    await gateway.drain();
    await logger.close();
    t.match(written, /streaming\/channels\/~[0-9a-f]{12}/, 'the socket is there, under its fingerprint');
    t.match(written, format === 'json' ? '"closeCode":1000' : 'closed with 1000');
    t.ok(token.length === 22 && !written.includes(token), 'the token is not');
    t.notOk(written.includes(id), 'the id is not');
  });
}
