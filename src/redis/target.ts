// Which server to connect to next, and with what: the one that is configured, or the master that the Sentinels name; the
// password and the files of TLS as they are now.

import type { Clock } from '../clock.ts';
import { findCertificates, LARGEST_PEM_BYTES } from '../config/certificates.ts';
import { formatRedisAddress, type RedisAddress } from '../config/redis-url.ts';
import type { RedisStoreConfig } from '../config/sections/store.ts';
import { isGatewayError } from '../errors.ts';
import { readPlainFileSync, whyNotRead } from '../fs/plain-file.ts';
import type { SecretSource } from '../secret.ts';
import { Link, type LinkTarget, type Reply } from './link.ts';
import { RedisError } from './redis-error.ts';

/** What is read again for each connection. Throws RedisError when a file cannot be read now. */
export function linkTarget(config: RedisStoreConfig, address: RedisAddress): LinkTarget {
  return {
    address,
    database: config.place.database,
    username: config.username,
    password: readSecret(config.password),
    tls: readTls(config, address),
  };
}

function readSecret(source: SecretSource | null): string | null {
  try {
    return source?.read().reveal() ?? null;
  } catch (error) {
    throw new RedisError('offline', isGatewayError(error) ? error.message : 'a secret of [store] cannot be read');
  }
}

function readTls({ caFile, certFile, keyFile }: RedisStoreConfig, address: RedisAddress): LinkTarget['tls'] {
  if (address.kind === 'unix' || !address.isTls) return { ca: [] };
  return {
    ca: caFile === null ? [] : findCertificates(readFile(caFile)).pems,
    ...(certFile !== null && { cert: readFile(certFile) }),
    ...(keyFile !== null && { key: readFile(keyFile) }),
  };
}

function readFile(path: string): string {
  try {
    return readPlainFileSync(path, LARGEST_PEM_BYTES).bytes.toString('utf8');
  } catch (error) {
    throw new RedisError('offline', `${path} ${whyNotRead(error, 'fix the path or its permissions')}`);
  }
}

/** The address of the server that takes writes, asked anew each time. Throws RedisError. */
export async function findServer(config: RedisStoreConfig, clock: Clock): Promise<RedisAddress> {
  const { addresses } = config.place;
  const [first] = addresses;
  if (first === undefined) throw new RedisError('unusable', 'store.url names no server');
  return config.sentinel === null ? first : new SentinelRound(config, config.sentinel, clock).ask();
}

/**
 * One question to all Sentinels at once. What more than half of them say is taken at once: one that hangs costs no time,
 * and one that was cut off from the others is outvoted.
 */
class SentinelRound {
  readonly #config: RedisStoreConfig;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #votes = new Map<string, { readonly address: RedisAddress; count: number }>();
  readonly #failures: RedisError[] = [];
  /** How many know no master of that name. */
  #ignorant = 0;

  constructor(config: RedisStoreConfig, name: string, clock: Clock) {
    this.#config = config;
    this.#name = name;
    this.#clock = clock;
  }

  async ask(): Promise<RedisAddress> {
    const { addresses } = this.#config.place;
    return new Promise((resolve, reject) => {
      let open = addresses.length;
      for (const address of addresses) {
        void this.#askOne(address)
          .catch((error: RedisError) => void this.#failures.push(error))
          .then(() => {
            open -= 1;
            const best = [...this.#votes.values()].sort((a, b) => b.count - a.count)[0];
            if (best !== undefined && (open === 0 || best.count * 2 > addresses.length)) resolve(best.address);
            else if (open === 0) reject(this.#failure());
          });
      }
    });
  }

  async #askOne(address: RedisAddress): Promise<void> {
    const where = formatRedisAddress(address);
    const { sentinelUsername: username, sentinelPassword } = this.#config;
    const target = {
      ...linkTarget(this.#config, address),
      database: 0,
      username,
      password: readSecret(sentinelPassword),
    };
    const link = await Link.open(target, this.#clock);
    try {
      if (link.hello.mode !== 'sentinel') {
        const message = `the server at ${where} is no Sentinel: name those in store.url, or leave store.sentinel out`;
        throw new RedisError('unusable', message);
      }
      this.#count(address, await link.ask(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.#name]));
    } finally {
      link.destroy();
    }
  }

  #count(from: RedisAddress, reply: Reply): void {
    const [host, port] = Array.isArray(reply) ? (reply as readonly Reply[]) : [];
    if (from.kind === 'unix' || typeof host !== 'string' || !/^\d{1,5}$/.test(String(port))) {
      this.#ignorant += 1;
      return;
    }
    const address: RedisAddress = { ...from, host, port: Number(port) };
    const key = formatRedisAddress(address);
    const vote = this.#votes.get(key);
    if (vote === undefined) this.#votes.set(key, { address, count: 1 });
    else vote.count += 1;
  }

  /** Why nobody named a master: what a person can mend first. */
  #failure(): RedisError {
    const unusable = this.#failures.find(({ kind }) => kind === 'unusable');
    if (unusable !== undefined) return unusable;
    if (this.#ignorant > 0)
      return new RedisError('unusable', `no Sentinel knows a master "${this.#name}": check store.sentinel`);
    const [first] = this.#failures;
    if (first?.kind === 'refused' && /WRONGPASS|NOAUTH|NOPERM/.test(first.word)) {
      const message = `a Sentinel refuses us: check store.sentinel_username and store.sentinel_password (${first.word})`;
      return new RedisError('refused', message, first.word);
    }
    return new RedisError('offline', `no Sentinel answers: ${first?.message ?? 'none is configured'}`);
  }
}
