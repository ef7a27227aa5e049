// Makes throw-away certificate authorities and certificates (P-256, in a temp folder) at run time, with node:crypto
// alone. Writes just enough DER for TLS tests; it is no general X.509 library, and nothing it makes is kept.

import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** PEM texts and the files that hold them, as `tls.createServer` and `tls.*_file` settings want them. */
interface IssuedCertificate {
  readonly key: string;
  readonly cert: string;
  readonly keyFile: string;
  readonly certFile: string;
}

interface IssueOptions {
  /** Subject CN; default: the first name. */
  readonly commonName?: string;
  /** Default: an hour ago. */
  readonly notBefore?: Date;
  /** Default: in 30 days. In the past for an expired certificate. */
  readonly notAfter?: Date;
  /** Encrypts the key (PKCS#8, AES-256-CBC). */
  readonly passphrase?: string;
}

export interface TestCa {
  readonly caFile: string;
  readonly caPem: string;
  /** The CA's subject CN, which untrusting clients see as the issuer. */
  readonly commonName: string;
  /** A certificate for server and client use; `names` are DNS names or IP addresses. */
  issue(names: readonly string[], options?: IssueOptions): IssuedCertificate;
  /** Removes the temp folder with all files. */
  close(): void;
}

/** A new CA with a key of its own; close it with `t.teardown(() => ca.close())`. */
export async function createTestCa(commonName = 'Gateway Test CA'): Promise<TestCa> {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-ca-'));
  const caKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuer = { commonName, ...caKeys };
  const caPem = certificate({
    commonName,
    publicKey: caKeys.publicKey,
    issuer,
    extensions: [basicConstraints(true), keyUsage(0x06, 1)],
  });
  const caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, caPem);
  let count = 0;
  return {
    caFile,
    caPem,
    commonName,
    issue(names, options = {}) {
      const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const cert = certificate({
        commonName: options.commonName ?? names[0] ?? 'nameless',
        publicKey: keys.publicKey,
        issuer,
        extensions: [
          basicConstraints(false),
          keyUsage(0x80, 7),
          extendedKeyUsage(),
          ...(names.length > 0 ? [subjectAltName(names)] : []),
        ],
        ...(options.notBefore && { notBefore: options.notBefore }),
        ...(options.notAfter && { notAfter: options.notAfter }),
      });
      const encryption =
        options.passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase: options.passphrase };
      const key = keys.privateKey.export({ type: 'pkcs8', format: 'pem', ...encryption }) as string;
      count += 1;
      const keyFile = join(folder, `${count}.key`);
      const certFile = join(folder, `${count}.pem`);
      writeFileSync(keyFile, key, { mode: 0o600 });
      writeFileSync(certFile, cert);
      return { key, cert, keyFile, certFile };
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

interface CertificateContents {
  commonName: string;
  publicKey: KeyObject;
  issuer: { commonName: string; publicKey: KeyObject; privateKey: KeyObject };
  extensions: Buffer[];
  notBefore?: Date;
  notAfter?: Date;
}

/** RFC 5280 section 4.1. */
function certificate(contents: CertificateContents): string {
  const { notBefore = new Date(Date.now() - 3_600_000), notAfter = new Date(Date.now() + 30 * 86_400_000) } = contents;
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x01;
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
  const extensions = [
    ...contents.extensions,
    extension('2.5.29.14', der(0x04, keyIdentifier(contents.publicKey))),
    extension('2.5.29.35', sequence(der(0x80, keyIdentifier(contents.issuer.publicKey)))),
  ];
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, serial),
    algorithm,
    distinguishedName(contents.issuer.commonName),
    sequence(time(notBefore), time(notAfter)),
    distinguishedName(contents.commonName),
    contents.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', toBeSigned, contents.issuer.privateKey);
  const whole = sequence(toBeSigned, algorithm, der(0x03, Buffer.concat([Buffer.of(0), signature])));
  return (
    `-----BEGIN CERTIFICATE-----\n${whole.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()}\n-----END ` +
    `CERTIFICATE-----\n`
  );
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const lengthBytes = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...lengthBytes), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(commonName)))));
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5). */
function time(date: Date): Buffer {
  const text = `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text));
}

function keyIdentifier(publicKey: KeyObject): Buffer {
  return createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
}

const TRUE = der(0x01, Buffer.of(0xff));

function extension(id: string, value: Buffer, isCritical = false): Buffer {
  return sequence(oid(id), ...(isCritical ? [TRUE] : []), der(0x04, value));
}

function basicConstraints(isCa: boolean): Buffer {
  return extension('2.5.29.19', sequence(...(isCa ? [TRUE] : [])), true);
}

function keyUsage(bits: number, unusedBits: number): Buffer {
  return extension('2.5.29.15', der(0x03, Buffer.of(unusedBits, bits)), true);
}

/** serverAuth and clientAuth. */
function extendedKeyUsage(): Buffer {
  return extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2')));
}

function subjectAltName(names: readonly string[]): Buffer {
  const entries = names.map((name) => {
    const family = isIP(name);
    if (family === 0) return der(0x82, Buffer.from(name));
    return der(0x87, family === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name));
  });
  return extension('2.5.29.17', sequence(...entries));
}

function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = address.split('::');
  const words = (text: string) => (text === '' ? [] : text.split(':'));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return Buffer.from(all.map((word) => word.padStart(4, '0')).join(''), 'hex');
}
