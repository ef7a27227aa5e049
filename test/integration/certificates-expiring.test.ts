// What a certificate that is about to end looks like before it does: in status, metrics and log, and after a renewal.

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { certificateFiles, daysUntil, expiryWarning } from '../../src/config/certificates.ts';
import { Expiries } from '../../src/server/expiries.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { configAt, createTestLog, startGateway } from '../helpers/gateway.ts';

const DAY_MS = 86_400_000;
const FREE = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;

t.test('status and metrics tell the days that are left, by what the certificate is for', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const soon = ca.issue(['localhost'], { notAfter: new Date(Date.now() + 5.5 * DAY_MS) });
  // The listener itself is plain here: what counts is what the configuration names.
  const { url } = await startGateway(t, {
    config: {
      server: { adminListen: [FREE] },
      tls: { caFile: ca.caFile, certFile: soon.certFile, keyFile: soon.keyFile },
    },
  });
  const status = (await (await fetch(`${url}/-/status`)).json()) as { certificates: Record<string, unknown>[] };
  t.match(status.certificates, [
    { use: 'upstream_ca', file: ca.caFile, subject: 'CN=Gateway Test CA', warning: null },
    { use: 'upstream_client', warning: /expires in 5 days, on \d{4}-\d\d-\d\d: renew it$/ },
  ]);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const left = (use: string) =>
    Number(new RegExp(`^gcg_certificate_seconds_left\\{use="${use}"\\} (\\S+)$`, 'm').exec(metrics)?.[1]) / 86_400;
  t.ok(left('upstream_client') > 5.4 && left('upstream_client') < 5.6);
  t.ok(left('upstream_ca') > 29);
  t.match(await (await fetch(url)).text(), /Soon to end: the certificate in .* expires in 5 days/);
});

t.test('the log tells it once a day, until the file is renewed', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const clock = createFakeClock(Date.now());
  const folder = t.testdir();
  const file = join(folder, 'server.crt');
  const ending = ca.issue(['gw'], { notAfter: new Date(clock.now() + 22.5 * DAY_MS) });
  copyFileSync(ending.certFile, file);
  const log = createTestLog();
  const tls = { certFile: file, keyFile: ending.keyFile, clientCaFile: null };
  const config = configAt('http://127.0.0.1:1', { server: { tls } });
  const expiries = new Expiries({ clock, log, config: () => config });
  expiries.start();
  const told = () => log.lines.filter(({ msg }) => msg === 'certificate expires').map(({ fields }) => fields.daysLeft);
  for (let day = 0; day < 4; day += 1) await clock.advance(DAY_MS);
  t.same(told(), [20, 19, 18], 'from 21 days on, once a day');
  t.match(log.lines.at(-1), { level: 'warn', fields: { use: 'listener', file, subject: 'CN=gw' } });
  copyFileSync(ca.issue(['gw'], { notAfter: new Date(clock.now() + 90 * DAY_MS) }).certFile, file);
  await clock.advance(DAY_MS);
  t.equal(told().length, 3, 'renewed: nothing to tell');
  expiries.close();
  await clock.advance(100 * DAY_MS);
  t.equal(told().length, 3, 'closed: no timer is left');
});

t.test('a warning is a sentence with the day, whatever the time', async (t) => {
  const now = Date.parse('2026-12-01T12:00:00Z');
  const told = (inDays: number) => expiryWarning({ subject: 'CN=gw', expiresAt: now + inDays * DAY_MS }, 'gw.crt', now);
  for (const [inDays, words] of [
    [-1, 'has expired on 2026-11-30'],
    [0, 'has expired on 2026-12-01'],
    [0.9, 'expires within a day, on 2026-12-02'],
    [1.1, 'expires in 1 day, on 2026-12-02'],
    [20.9, 'expires in 20 days, on 2026-12-22'],
  ] as const)
    t.equal(told(inDays), `the certificate in gw.crt (CN=gw) ${words}: renew it`);
  t.equal(told(21), null);
  t.equal(daysUntil(now - 1, now), -1);
  t.same(certificateFiles({ server: { tls: null }, tls: { caFile: null, certFile: null } }), []);
});

t.test('a file that is gone, or no certificate, tells nothing and throws nothing', async (t) => {
  const clock = createFakeClock(Date.now());
  const junk = t.testdir({ 'junk.pem': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' });
  for (const caFile of [join(junk, 'junk.pem'), join(junk, 'gone.pem'), junk]) {
    const config = configAt('http://127.0.0.1:1', { tls: { caFile } });
    t.same(new Expiries({ clock, log: createTestLog(), config: () => config }).certificates(), []);
  }
});

t.test('a client that ends soon is told of in the log once a day, until it has another end', async (t) => {
  const clock = createFakeClock();
  const log = createTestLog();
  const ending = clientNamed('crm', { expiresAt: clock.now() + 22.5 * 86_400_000 });
  const config = configAt('http://upstream.invalid', { clients: [ending, clientNamed('bi')] });
  const expiries = new Expiries({ clock, log, config: () => config });
  t.teardown(() => expiries.close());
  expiries.start();
  const told = () => log.lines.filter(({ msg }) => msg === 'client expires').map(({ fields }) => fields);
  await clock.advance(86_400_000);
  t.equal(told().length, 0, 'there is time');
  await clock.advance(86_400_000);
  t.match(told(), [{ client: 'crm', daysLeft: 20, warning: /^client\.crm\.expires is reached in 20 days, on / }]);
  await clock.advance(86_400_000);
  t.equal(told().length, 2);
});
