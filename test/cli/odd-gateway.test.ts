// What listens where the gateway should be hangs, lies, breaks off, or is another program: each command that asks says
// so in time, and believes none of it.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { listClients } from '../../src/cli/commands/client-list.ts';
import { probeReadiness } from '../../src/cli/commands/healthcheck.ts';
import { logout } from '../../src/cli/commands/logout.ts';
import { status } from '../../src/cli/commands/status.ts';
import { createCommandFolder } from '../helpers/commands.ts';

const OURS = 'X-Gateway-Request-Id: 1\r\n';
const answer =
  (body: string, head = OURS, line = '200 OK') =>
  (socket: Socket) =>
    socket.end(
      `HTTP/1.1 ${line}\r\n${head}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );

/** Goes on sending until the other side has gone. */
const endless = (head: string, piece: string) => (socket: Socket) => {
  socket.write(head);
  const timer = setInterval(() => socket.write(piece), 20);
  socket.on('close', () => clearInterval(timer));
};

const HEAD = `HTTP/1.1 200 OK\r\n${OURS}`;
const KINDS: Record<string, (socket: Socket) => void> = {
  'closes at once': (socket) => socket.destroy(),
  'breaks off in the body': (socket) => socket.end(`${HEAD}Content-Length: 1000\r\n\r\n{"status":`),
  'breaks off in a chunk': (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n{"sta`),
  'changes the protocol': (socket) =>
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${OURS}Upgrade: x\r\nConnection: upgrade\r\n\r\n`),
  'is another program': answer('<html>hello</html>', ''),
  'has a status of four digits': answer('{}', OURS, '2000 OK'),
  'speaks no HTTP': (socket) => socket.end('SSH-2.0-x\r\n'),
  redirects: answer('', `${OURS}Location: /x\r\n`, '302 Found'),
  'is in trouble, and says nothing of use': answer('{"code":7,"message":{"a":1}}', OURS, '500 No'),
  'sends control characters': answer(
    JSON.stringify({ code: 'x', message: '\u001b]0;evil\u0007bad\u202e', status: '\u001b[31m\u202e' }),
    OURS,
    '503 No',
  ),
};

/** These never end by themselves. */
const ENDLESS: Record<string, (socket: Socket) => void> = {
  'says nothing': () => {},
  'never gets to the end of its body': endless(`${HEAD}Content-Length: 100000\r\n\r\n`, ' '),
  'sends without an end': endless(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, '1\r\n \r\n'),
  'says Continue for ever': endless('', 'HTTP/1.1 100 Continue\r\n\r\n'),
};

async function listenAs(t: Test, behave: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => behave(socket));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const probe = (port: number, timeoutMs: number, spentMs = 0) =>
  probeReadiness({ address: { kind: 'tcp', host: '127.0.0.1', port }, isEncrypted: false }, timeoutMs, spentMs);

for (const [kind, behave] of Object.entries({ ...KINDS, ...ENDLESS })) {
  t.test(`healthcheck, where something ${kind}: not ready, in one line`, async (t) => {
    const seen = await probe(await listenAs(t, behave), kind in ENDLESS ? 300 : 30_000);
    t.equal(seen.ready, false);
    if (!seen.ready) {
      t.not(seen.why, '');
      t.equal(
        [...seen.why].every((char) => char >= ' '),
        true,
      );
      if (kind in ENDLESS) t.match(seen.why, /did not answer within 0\.3 s/);
    }
  });
}

const READY = `${HEAD}Content-Length: 2\r\n\r\n{}`;

t.test('an answer is read that comes byte by byte, and one of many credentials', async (t) => {
  let asked = 0;
  const byBytes = (socket: Socket) => {
    asked += 1;
    socket.setNoDelay();
    const [first, ...rest] = READY;
    socket.write(first as string);
    const timer = setInterval(() => {
      const next = rest.shift();
      if (next === undefined) clearInterval(timer);
      else socket.write(next);
    }, 0);
  };
  t.strictSame(await probe(await listenAs(t, byBytes), 30_000), { ready: true });
  const credentials = Array.from({ length: 500 }, (_, at) => ({ name: `é${at}`, required: true, token: 'none' }));
  const long = (socket: Socket) => {
    asked += 1;
    answer(JSON.stringify({ status: 'waiting', credentials }), OURS, '503 No')(socket);
  };
  t.match(await probe(await listenAs(t, long), 30_000), {
    ready: false,
    why: /é0 .*credential é499 has no token yet$/,
  });
  t.equal(asked, 2, 'once each');
});

t.test('a connection that is left open after the answer is closed when the time is over', async (t) => {
  const open: Socket[] = [];
  const port = await listenAs(t, (socket) => {
    open.push(socket.resume());
    socket.write(READY);
  });
  t.strictSame(await probe(port, 300), { ready: true });
  const [socket] = open as [Socket];
  t.equal(socket.readableEnded, false, 'the answer is there before');
  await once(socket, 'close');
});

t.test('a probe that has waited already does not wait once more, and tells the whole time', async (t) => {
  for (const [kind, behave] of Object.entries(ENDLESS)) {
    const seen = await probe(await listenAs(t, behave), 3_600_000, 3_599_900);
    t.match(seen, { ready: false, why: /did not answer within 3600 s/ }, kind);
  }
});

for (const [kind, behave] of Object.entries(KINDS)) {
  t.test(`status and logout, where something ${kind}: words and a code, and nothing on stdout`, async (t) => {
    const port = await listenAs(t, behave);
    const folder = createCommandFolder(
      t,
      `[server]\nlisten = 127.0.0.1:${port}\n[credential]\nclient_id = x\nclient_secret = y\n`,
    );
    for (const [name, command] of Object.entries({ status, logout })) {
      const { code, out, err } = await folder.run(command, [name]);
      t.not(code, 0, name);
      t.equal(out, '');
      t.match(err, /^gcg: [^\n]+\n$/);
      t.notMatch(err, /unexpectedly|object Object|\u001b|\u202e/);
    }
  });
}

for (const body of ['null', '[]', '"x"', '{}', '{"credentials":[{"name":5}],"limits":"x","upstream":null}', '<html>'])
  t.test(`status, where the document is ${body}: 69`, async (t) => {
    const port = await listenAs(t, answer(body));
    const folder = createCommandFolder(
      t,
      `[server]\nlisten = 127.0.0.1:${port}\n[credential]\nclient_id = x\nclient_secret = y\n`,
    );
    t.match(await folder.run(status, ['status']), { code: 69, out: '', err: /cannot be read/ });
  });

for (const body of ['{"clients":[{"name":"x"}]}', '{"clients":[null]}', '{"clients":[]}'])
  t.test(`client list, where the document is ${body}: 69`, async (t) => {
    const port = await listenAs(t, answer(body));
    const folder = createCommandFolder(
      t,
      `[server]\nlisten = 127.0.0.1:${port}\n[credential]\nclient_id = x\nclient_secret = y\n`,
    );
    t.match(await folder.run(listClients, ['client', 'list']), { code: 69, out: '', err: /cannot be read/ });
  });
