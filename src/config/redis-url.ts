// Where a Redis server listens, as settings write it: redis://host:port/db, rediss:// with TLS, unix:/path.

import { quote } from './problem.ts';
import { err, ok, type Parsed } from './values.ts';

/** Where one server listens. */
export type RedisAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly isTls: boolean }
  | { readonly kind: 'unix'; readonly path: string };

/** `store.url`, read: one server, or the Sentinels that know which it is. */
export interface RedisPlace {
  readonly addresses: readonly RedisAddress[];
  readonly database: number;
}

/** For people and logs: `redis.example.com:6379`, `/run/redis.sock`. It has no user and no password to show. */
export function formatRedisAddress(address: RedisAddress): string {
  if (address.kind === 'unix') return address.path;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

const FORMS = 'redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:/PATH';

/** Reads one URL, or several with commas. A password in it is refused, and not repeated. */
export function parseRedisUrl(text: string): Parsed<RedisPlace> {
  const parts = text.split(',').map((part) => part.trim());
  const addresses: RedisAddress[] = [];
  let database = 0;
  for (const [index, part] of parts.entries()) {
    const one = parseOne(part);
    if (!one.ok) return one;
    const [address] = one.value.addresses;
    if (address === undefined) continue;
    if (index > 0 && one.value.database !== database) return err('names several databases; all must be the same');
    database = one.value.database;
    addresses.push(address);
  }
  return ok({ addresses, database });
}

function parseOne(text: string): Parsed<RedisPlace> {
  if (text === '') return err('has an empty item between commas');
  if (/^unix:\/?[^/@]*$|^unix:\/\/[^/@]+$/i.test(text)) return err(`is not ${FORMS}`);
  if (/^unix:(?:\/\/)?\/(?!\/)/i.test(text)) {
    const path = text.replace(/^unix:(?:\/\/(?=\/))?/i, '');
    return ok({ addresses: [{ kind: 'unix', path }], database: 0 });
  }
  if (text.includes('@'))
    return err('holds a user name or a password, and URLs end up in logs: set store.username and store.password_file');
  const scheme = /^(rediss?):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined || !URL.canParse(text)) return err(`${quote(text)} is not ${FORMS}`);
  const url = new URL(text);
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (!/^(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]+\])$/.test(url.hostname))
    return err(`${quote(text)} names no host; write ${FORMS}`);
  if (database === undefined || url.search !== '' || url.hash !== '')
    return err(`${quote(text)} holds more than a host, a port and the number of a database`);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? 6379 : Number(url.port);
  if (port === 0) return err(`${quote(text)} has port 0, where nothing can listen`);
  return ok({ addresses: [{ kind: 'tcp', host, port, isTls: scheme === 'rediss' }], database: Number(database) });
}
