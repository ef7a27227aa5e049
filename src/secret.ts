// Secrets: a value that does not print itself, and where it comes from: inline, a file that is read again when it
// changes, or the environment.

import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { GatewayError } from './errors.ts';
import { fileRevision, type PlainFile, readPlainFileSync, whyNotRead } from './fs/plain-file.ts';
import { REDACTED } from './redacted.ts';

/**
 * Holds a secret string. `reveal()` is the only way to the value; `String(secret)`, JSON and `util.inspect` give
 * `[redacted]`. Kept in a private field, so object spread and structured clone do not carry it.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value. Call it where it goes on the wire, and nowhere else. */
  reveal(): string {
    return this.#value;
  }

  /** The first 12 hex digits of the SHA-256: enough to tell two secrets apart in a log, useless for anything else. */
  fingerprint(): string {
    return createHash('sha256').update(this.#value).digest('hex').slice(0, 12);
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/**
 * Yields a secret's present value. Files are read again when they changed; nothing is watched and nothing needs
 * closing.
 */
export interface SecretSource {
  /** For people: `config.ini:12`, `file /run/secrets/x`, `env CRM_SECRET`. Never the value. */
  readonly origin: string;
  /** The value now. Throws GatewayError `gateway.credential.rejected` when the file cannot be read or is empty. */
  read(): Secret;
  /** Changes whenever the value may have changed; cheap (one stat at most), never throws. */
  revision(): string;
  /**
   * Tells each value that is read from now on for the first time, before `read` returns it. Only a source whose value
   * can change has it.
   */
  onNew?(tell: (secret: Secret) => void): void;
  /** The value now, of a source that has to ask for it first: `read` throws until it has. See `fetchSecret`. */
  fetch?(): Promise<Secret>;
  /** Asks anew, because the value was refused. Only a source that keeps what it was told has it. */
  refetch?(): Promise<Secret>;
  /** Asks anew, in case the value is another now: then the revision changes. Throws as `fetch`. */
  renew?(): Promise<void>;
}

/** The value of a source of any kind. Throws GatewayError as `read`, or gateway.credential.unavailable. */
export async function fetchSecret(source: SecretSource): Promise<Secret> {
  return source.fetch === undefined ? source.read() : source.fetch();
}

/** Whether a secret begins or ends with white space: that is sent as part of it, and rarely meant. */
export function hasOuterBlanks(secret: Secret): boolean {
  const value = secret.reveal();
  return value.trim() !== value;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether an id has the form of the platform's OAuth clients'. */
export function looksLikeClientId(clientId: string): boolean {
  return UUID.test(clientId);
}

/** Whether a client id and its secret look swapped: ids of the platform are UUIDs, its secrets are not. */
export function looksSwapped(clientId: string, secret: Secret): boolean {
  return !UUID.test(clientId) && UUID.test(secret.reveal().trim());
}

/**
 * A secret written where it is used. Its revision is the same for the same value, also across a reload of the
 * configuration.
 */
export function inlineSecret(value: string, origin: string): SecretSource {
  const secret = new Secret(value);
  let revision: string | undefined;
  return {
    origin,
    read: () => secret,
    revision() {
      revision ??= `inline:${secret.fingerprint()}`;
      return revision;
    },
  };
}

/** Upper bound of a secret file: a private key or an assertion fits, a mistaken path does not. */
const LARGEST_SECRET_FILE_BYTES = 1024 * 1024;

/** A secret in a file of its own; one trailing newline is not part of it. */
export function fileSecret(path: string): SecretSource {
  let cached: { revision: string; secret: Secret } | undefined;
  const listeners: ((secret: Secret) => void)[] = [];
  return {
    origin: `file ${path}`,
    revision: () => fileRevision(path),
    read() {
      if (cached?.revision === fileRevision(path)) return cached.secret;
      const { bytes, revision } = readSecretFile(path);
      const secret = new Secret(secretIn(path, bytes.toString('utf8')));
      cached = { revision, secret };
      for (const tell of listeners) tell(secret);
      return secret;
    },
    onNew(tell) {
      listeners.push(tell);
    },
  };
}

function readSecretFile(path: string): PlainFile {
  try {
    return readPlainFileSync(path, LARGEST_SECRET_FILE_BYTES);
  } catch (error) {
    throw new GatewayError(
      'gateway.credential.rejected',
      (error as NodeJS.ErrnoException).code === 'ENOENT'
        ? `secret file ${path} does not exist: write the secret into it, or fix the path`
        : `secret file ${path} ${whyNotRead(error, 'fix the file or its permissions')}`,
    );
  }
}

function secretIn(path: string, text: string): string {
  const value = text.replace(/^\uFEFF/, '').replace(/\r?\n$/, '');
  if (value.trim() === '')
    throw new GatewayError('gateway.credential.rejected', `secret file ${path} is empty: write the secret into it`);
  return value;
}
