// The certificate and key files of [server.tls] and [tls], as `check` looks at them.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createTestCa } from '../../helpers/certificates.ts';
import { good, problems, warnings, withCredential } from './load-text.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());
const one = ca.issue(['one']);
const two = ca.issue(['two']);
const past = ca.issue(['past'], { notAfter: new Date(Date.now() - 86_400_000) });
const soon = ca.issue(['soon'], { notAfter: new Date(Date.now() + 5.5 * 86_400_000) });
const renewed = ca.issue(['soon'], { notAfter: new Date(Date.now() + 400 * 86_400_000) });
const locked = ca.issue(['locked'], { passphrase: 'opensesame' });

/** A certificate whose end is no time; the first time in it is its beginning. */
function withoutEnd(pem: string): string {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const UTC_TIME = Buffer.from([0x17, 0x0d]);
  der.write('9999', der.indexOf(UTC_TIME, der.indexOf(UTC_TIME) + 2) + 4, 'latin1');
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
}

const DAMAGED = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const dir = t.testdir({
  'one.crt': one.cert,
  'one.key': one.key,
  'both.pem': `${one.cert}${one.key}`,
  'locked.crt': locked.cert,
  'locked.key': locked.key,
  'two.key': two.key,
  'past.crt': past.cert,
  'past.key': past.key,
  'bundle.crt': `${past.cert}${ca.caPem}`,
  'soon.crt': soon.cert,
  'soon.key': soon.key,
  'chain.crt': `${one.cert}${soon.cert}`,
  'renewed-ca.crt': `${soon.cert}${renewed.cert}`,
  'two-cas.crt': `${soon.cert}${one.cert}`,
  'ca.pem': `# corporate\n${ca.caPem}\ntext between\n${one.cert}`,
  'damaged.pem': `${ca.caPem}${DAMAGED}`,
  'no-time.pem': withoutEnd(one.cert),
  'cut.pem': ca.caPem.slice(0, 200),
  'empty.pem': '',
  'a.p12': '\u0000\u0001',
});
writeFileSync(join(dir, 'huge.pem'), Buffer.alloc(4 * 1024 * 1024 + 1));

const of = (section: string) => (text: string) =>
  problems(withCredential(`[${section}]\n${text.replaceAll('DIR', dir)}`));

for (const section of ['server.tls', 'tls']) {
  const tls = of(section);
  t.test(`[${section}]: certificate and key are given, and belong, together`, async (t) => {
    t.strictSame(tls('cert_file = DIR/one.crt\nkey_file = DIR/one.key'), []);
    t.strictSame(tls('cert_file = DIR/both.pem\nkey_file = DIR/both.pem'), []);
    t.match(tls('cert_file = DIR/one.crt'), [
      new RegExp(`^gcg\\.ini:5: ${section}\\.cert_file: needs ${section}\\.key_file`),
    ]);
    t.match(tls('key_file = DIR/one.key'), [/needs .*\.cert_file beside it/]);
    t.match(tls('cert_file = DIR/one.crt\nkey_file = DIR/two.key'), [
      /^gcg\.ini:6: .*two\.key does not fit .*one\.crt \(ERR_OSSL_X509_KEY_VALUES_MISMATCH\)/,
    ]);
    t.match(tls('cert_file = DIR/one.key\nkey_file = DIR/one.crt'), [
      /one\.key holds no certificate; is it the right/,
      /one\.crt holds no private key/,
    ]);
    t.match(tls('cert_file = DIR/locked.crt\nkey_file = DIR/locked.key'), [
      /locked\.key does not fit .*the key must be one we can open/,
    ]);
  });

  t.test(`[${section}]: files exist and are PEM`, async (t) => {
    t.match(tls('cert_file = DIR/none\nkey_file = DIR/a.p12'), [
      /none cannot be read \(ENOENT\)/,
      /holds no private key; convert it to PEM/,
    ]);
    t.match(tls('cert_file = DIR\nkey_file = DIR/one.key'), [/ is a folder; name the file in it$/]);
    t.match(tls('cert_file = DIR/huge.pem\nkey_file = DIR/one.key'), [/is larger than 4 MiB/]);
  });
}

t.test('a certificate of ours that has expired is warned of, and no other', async (t) => {
  const told = (text: string) =>
    warnings(withCredential(`[tls]\n${text.replaceAll('DIR', dir)}`)).filter((line) => line.includes('expired'));
  t.match(told('cert_file = DIR/past.crt\nkey_file = DIR/past.key'), [
    /^gcg\.ini:5: tls\.cert_file: the certificate in .*past\.crt \(CN=.*\) has expired on \d{4}-\d\d-\d\d: renew it/,
  ]);
  t.strictSame(told('cert_file = DIR/one.crt\nkey_file = DIR/one.key'), []);
  t.equal(told('ca_file = DIR/past.crt').length, 1, 'a CA that has ended, where it is the only one');
  t.strictSame(told('ca_file = DIR/bundle.crt'), [], 'bundles always hold some');
});

t.test('what ends within 21 days is warned of: any of a chain, and of CAs what no other stands in for', async (t) => {
  const told = (section: string, text: string) =>
    warnings(withCredential(`[${section}]\n${text.replaceAll('DIR', dir)}`)).filter((line) => line.includes('expires'));
  for (const section of ['server.tls', 'tls'])
    t.match(told(section, 'cert_file = DIR/soon.crt\nkey_file = DIR/soon.key'), [
      /cert_file: the certificate in .*soon\.crt \(CN=soon\) expires in 5 days, on \d{4}-\d\d-\d\d: renew it/,
    ]);
  t.equal(told('tls', 'cert_file = DIR/chain.crt\nkey_file = DIR/one.key').length, 1, 'a chain is shown as a whole');
  t.strictSame(told('tls', 'ca_file = DIR/renewed-ca.crt'), [], 'the same CA, renewed');
  t.match(told('tls', 'ca_file = DIR/two-cas.crt'), [/CN=soon/], 'another CA stands in for nothing');
});

t.test('a key with a passphrase is opened with it', async (t) => {
  const tls = (passphrase: string) =>
    of('tls')(`cert_file = DIR/locked.crt\nkey_file = DIR/locked.key\nkey_passphrase = ${passphrase}`);
  t.strictSame(tls('opensesame'), []);
  const [problem, ...others] = tls('passphrase-canary');
  t.match(problem, /does not fit/);
  t.strictSame(others, []);
  t.notMatch(problem, /canary/);
});

t.test('authorities: one or more certificates, and text between them', async (t) => {
  const tls = of('tls');
  t.strictSame(tls('ca_file = DIR/ca.pem'), []);
  t.match(tls('ca_file = DIR/empty.pem'), [/^gcg\.ini:5: tls\.ca_file: .*empty\.pem holds no certificate/]);
  t.match(tls('ca_file = DIR/one.key'), [/one\.key holds no certificate; is it the right file/]);
  t.match(tls('ca_file = DIR/cut.pem'), [/holds no certificate/]);
  t.match(tls('ca_file = DIR/damaged.pem'), [/damaged\.pem holds a certificate that is damaged \(2 of 2\)/]);
  t.match(tls('ca_file = DIR/no-time.pem'), [/no-time\.pem holds a certificate that is damaged \(1 of 1\)/]);
  t.match(of('server.tls')('cert_file = DIR/no-time.pem\nkey_file = DIR/one.key'), [/damaged \(1 of 1\)/]);
  t.match(of('server.tls')('client_ca_file = DIR/ca.pem'), [/needs server\.tls\.cert_file and key_file/]);
});

t.test('changes of these files are watched', async (t) => {
  const open =
    `[server]\nlisten = 0.0.0.0:1\n[server.tls]\ncert_file = ${dir}/one.crt\nkey_file = ` +
    `${dir}/one.key\nclient_ca_file = ${dir}/ca.pem`;
  t.strictSame(good(withCredential(open)).referencedFiles, [`${dir}/one.crt`, `${dir}/one.key`, `${dir}/ca.pem`]);
});
