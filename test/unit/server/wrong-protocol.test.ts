// The records of callers with the wrong protocol: one for a peer and minute, and few whatever comes.

import type { Socket } from 'node:net';
import t from 'tap';
import { WrongProtocols } from '../../../src/server/wrong-protocol.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog } from '../../helpers/gateway.ts';

const from = (remoteAddress: string) => ({ remoteAddress, localAddress: '::ffff:10.0.0.1', localPort: 8080 }) as Socket;

t.test('one record for a peer, protocol and minute; a network of IPv6 is one peer', async (t) => {
  const clock = createFakeClock();
  const log = createTestLog();
  const notes = new WrongProtocols({ clock, log });
  for (const address of ['192.0.2.1', '::ffff:192.0.2.1', '2001:db8::1', '2001:db8::2'])
    for (let i = 0; i < 3; i++) notes.note('tls', from(address));
  t.same(
    log.lines.map(({ fields }) => [fields.peer, fields.listener]),
    [
      ['192.0.2.1', '10.0.0.1 port 8080'],
      ['2001:db8::1', '10.0.0.1 port 8080'],
    ],
  );
  notes.note('http', from('192.0.2.1'));
  t.equal(log.lines.length, 3);
  await clock.advance(60_000);
  notes.note('tls', from('192.0.2.1'));
  t.equal(log.lines.length, 4);
});

t.test('a flood from many addresses is twenty records a minute, and the rest is counted', async (t) => {
  const clock = createFakeClock();
  const log = createTestLog();
  const notes = new WrongProtocols({ clock, log });
  for (let i = 0; i < 5000; i++) notes.note('tls', from(`10.1.${i >> 8}.${i & 255}`));
  t.equal(log.lines.length, 20);
  await clock.advance(60_000);
  notes.note('tls', from('192.0.2.1'));
  t.equal(log.lines.length, 21);
  t.equal(log.lines.at(-1)?.fields.leftOut, 4980);
});
