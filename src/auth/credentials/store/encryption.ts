// Encryption of what is stored (AES-256-GCM), and the key file where no key is configured.

import { createCipheriv, createDecipheriv, createHmac, hkdf, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { createFile } from '../../../fs/atomic-write.ts';
import { readPlainFile, whyNotRead } from '../../../fs/plain-file.ts';
import type { Log } from '../../../logging/log.ts';
import { Secret, type SecretSource } from '../../../secret.ts';
import { StoreError } from './store.ts';

const FORMAT = 'gcg-store-1';
const ALGORITHM = 'aes-256-gcm';
const SCRYPT_COST = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };

/** Keys that are kept derived: for each process that wrote into a folder, and for each key that was in use since. */
const MOST_DERIVED = 256;

/**
 * Encrypts and decrypts. `identity` is authenticated, not stored: a text sealed for one identity does not open for
 * another.
 */
export interface Sealer {
  seal(identity: string, name: string, plaintext: string): Promise<string>;
  /**
   * Throws StoreError `wrong_key` when another key sealed it, `damaged` when it was cut or changed. Messages lack the
   * file's name.
   */
  open(identity: string, text: string): Promise<string>;
  /** Whether the present key sealed it, rather than the one before. */
  isCurrent(text: string): Promise<boolean>;
}

interface Envelope {
  readonly format: string;
  readonly name: string;
  readonly salt: string;
  readonly check: string;
  readonly nonce: string;
  readonly tag: string;
  readonly data: string;
}

/** What a sealer goes by. Secrets are asked for each time, so that a changed one takes effect. */
export interface SealerKeys {
  /** The key: 32 bytes in hex or base64, or a passphrase. */
  readonly secret: () => Promise<Secret>;
  /** The key before, where there is one: it opens what the present one did not seal, and seals nothing. */
  readonly previous?: (() => Promise<Secret>) | null;
  /**
   * What the key is derived with, where several processes share that: a passphrase is stretched once for each salt.
   * Null as long as it is not known.
   */
  readonly salt?: () => string | null;
}

/** Makes a sealer. */
export function createSealer({ secret, previous = null, salt: shared }: SealerKeys): Sealer {
  const ownSalt = randomBytes(16).toString('hex');
  const derived = new Map<string, Promise<Buffer>>();

  const derive = async (from: Secret, salt: string): Promise<Buffer> => {
    const id = `${from.fingerprint()}:${salt}`;
    let key = derived.get(id);
    if (key === undefined) {
      key = deriveKey(from.reveal(), Buffer.from(salt, 'hex'));
      // A text that somebody else wrote may name any salt.
      const [oldest] = derived.keys();
      if (derived.size >= MOST_DERIVED && oldest !== undefined) derived.delete(oldest);
      derived.set(id, key);
    }
    return key;
  };

  /** The key that sealed an envelope. */
  const keyOf = async ({ salt, check }: Envelope): Promise<Buffer> => {
    const key = await derive(await secret(), salt);
    if (isCheckOf(key, check)) return key;
    const before = previous === null ? null : await derive(await previous(), salt);
    if (before !== null && isCheckOf(before, check)) return before;
    throw new StoreError('wrong_key', 'was encrypted with another key');
  };

  return {
    async seal(identity, name, plaintext) {
      const salt = shared?.() ?? ownSalt;
      const key = await derive(await secret(), salt);
      const nonce = randomBytes(12);
      const check = keyCheck(key);
      const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(authenticated(identity, name, salt, check));
      const data = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]).toString('base64');
      const tag = cipher.getAuthTag().toString('base64');
      const envelope: Envelope = {
        format: FORMAT,
        name,
        salt,
        check,
        nonce: nonce.toString('base64'),
        tag,
        data,
      };
      return `${JSON.stringify(envelope)}\n`;
    },
    async isCurrent(text) {
      const envelope = parseEnvelope(text);
      return envelope !== undefined && isCheckOf(await derive(await secret(), envelope.salt), envelope.check);
    },
    async open(identity, text) {
      const envelope = parseEnvelope(text);
      if (envelope === undefined) throw new StoreError('damaged', 'is cut or is not a file of this store');
      const key = await keyOf(envelope);
      try {
        const decipher = createDecipheriv(ALGORITHM, key, Buffer.from(envelope.nonce, 'base64'), { authTagLength: 16 });
        decipher.setAAD(authenticated(identity, envelope.name, envelope.salt, envelope.check));
        decipher.setAuthTag(Buffer.from(envelope.tag, 'base64'));
        return Buffer.concat([decipher.update(envelope.data, 'base64'), decipher.final()]).toString('utf8');
      } catch {
        // The cipher says only that authentication failed: changed by somebody, or written for another credential.
        throw new StoreError('damaged', 'was changed, or belongs to another credential');
      }
    },
  };
}

/** The name that a sealed text was written for. Not authenticated: for listings only. */
export function sealedName(text: string): string | undefined {
  return parseEnvelope(text)?.name;
}

function authenticated(identity: string, name: string, salt: string, check: string): Buffer {
  return Buffer.from(JSON.stringify([FORMAT, identity, name, salt, check]));
}

/** A check value that tells a wrong key from a damaged file and reveals nothing of the key. */
function keyCheck(key: Buffer): string {
  return createHmac('sha256', key).update('gcg key check').digest('hex').slice(0, 16);
}

function isCheckOf(key: Buffer, check: string): boolean {
  return timingSafeEqual(Buffer.from(keyCheck(key)), Buffer.from(check));
}

const HEX_PATTERNS = { salt: /^[0-9a-f]{32}$/, check: /^[0-9a-f]{16}$/ };
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

function parseEnvelope(text: string): Envelope | undefined {
  let value: Partial<Record<keyof Envelope, unknown>> | null;
  try {
    value = JSON.parse(text);
  } catch {
    // Cut or foreign: the caller reports it.
    return undefined;
  }
  if (value === null || typeof value !== 'object' || value.format !== FORMAT) return undefined;
  const { name, salt, check, nonce, tag, data } = value;
  const texts = [name, salt, check, nonce, tag, data];
  if (!texts.every((part) => typeof part === 'string')) return undefined;
  const envelope = value as Envelope;
  const isWellFormed =
    HEX_PATTERNS.salt.test(envelope.salt) &&
    HEX_PATTERNS.check.test(envelope.check) &&
    [envelope.nonce, envelope.tag, envelope.data].every((part) => BASE64.test(part));
  return isWellFormed ? envelope : undefined;
}

/** The encryption key from a secret. A key of full strength needs no stretching; a passphrase does. */
function deriveKey(secret: string, salt: Buffer): Promise<Buffer> {
  const raw = rawKey(secret);
  if (raw !== undefined)
    return promisify(hkdf)('sha256', raw, salt, 'gcg token store', 32).then((key) => Buffer.from(key));
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, 32, SCRYPT_COST, (error, key) => (error ? reject(error) : resolve(key)));
  });
}

function rawKey(secret: string): Buffer | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(secret)) return Buffer.from(secret, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(secret)) return Buffer.from(secret, 'base64');
  return undefined;
}

/** The key that an option gives. Throws StoreError. */
export function readKey(option: 'encryption_key' | 'encryption_key_previous', source: SecretSource): Secret {
  try {
    return source.read();
  } catch {
    // Its message speaks of a credential; this is the store's key.
    throw new StoreError('unreadable', `${option} cannot be read from ${source.origin}`);
  }
}

/** Far larger than a key file of ours, which is 65 bytes. */
const LARGEST_KEY_BYTES = 1024 * 1024;

/** Reads the key in `path`, or makes it; two processes that start together end with the same one. Throws StoreError. */
export async function loadOrCreateKey(path: string, log: Log): Promise<Secret> {
  const existing = await readKeyFile(path, log);
  if (existing !== undefined) return existing;
  await createFile(path, `${randomBytes(32).toString('hex')}\n`).catch((error: NodeJS.ErrnoException) => {
    throw new StoreError('unwritable', `key file ${path} cannot be written (${error.code})`);
  });
  const made = await readKeyFile(path, log);
  if (made === undefined) throw new StoreError('unreadable', `key file ${path} vanished`);
  return made;
}

async function readKeyFile(path: string, log: Log): Promise<Secret | undefined> {
  let text: string;
  try {
    const { bytes, mode } = await readPlainFile(path, LARGEST_KEY_BYTES);
    text = bytes.toString('utf8');
    if ((mode & 0o077) !== 0) log.warn({ path }, 'store key file is readable by others');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new StoreError('unreadable', `key file ${path} ${whyNotRead(error)}`);
  }
  const key = text.trim();
  if (!/^[0-9a-f]{64}$/.test(key))
    throw new StoreError('unreadable', `key file ${path} holds no key: restore it, or remove it and log in again`);
  return new Secret(key);
}
