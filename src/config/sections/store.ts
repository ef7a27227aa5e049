// [store]: what survives a restart, and what several instances share. Says which settings belong together.

import type { SecretSource } from '../../secret.ts';
import { pathsOf } from '../file.ts';
import { isLoopbackHost } from '../listen-address.ts';
import { choice, path, secret, text } from '../option.ts';
import { checkCertificates, checkKey, checkOwnCertificate, checkPemPair } from '../pem-file.ts';
import { parseRedisUrl, type RedisPlace } from '../redis-url.ts';
import { Section, type SectionContext, type SectionReader } from '../section.ts';
import { err, ok } from '../values.ts';
import type { ClientConfig } from './client.ts';
import { type CredentialConfig, USER_GRANTS } from './credential.ts';

export const store = new Section('store', 'Where tokens and sessions are kept.', {
  type: choice(['memory', 'file', 'redis'], null, {
    defaultNote: 'file once a grant with a user or a client is configured, else memory',
    example: 'file',
    reload: 'restart',
    doc: 'Where tokens, sessions and refresh tokens are kept: memory, file (they survive a restart) or redis.',
    more: 'With redis several instances are one gateway (docs/instances.md). Valkey is meant as well.',
  }),
  path: path({
    defaultNote:
      '$XDG_STATE_HOME/genesys-cloud-gateway, else ~/.local/state/genesys-cloud-gateway; %LOCALAPPDATA% on Windows; ' +
      'none with redis',
    example: '/var/lib/genesys-cloud-gateway',
    reload: 'restart',
    doc: 'The folder of the file store; with redis, of refresh tokens that it does not take, until it does.',
  }),
  prefix: text('gcg', {
    parse: (prefix) =>
      /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(prefix)
        ? ok(prefix)
        : err('may hold letters, digits, hyphens and underscores only'),
    reload: 'restart',
    doc: 'What the names of stored entries begin with, so that several gateways can share a store.',
  }),
  encryption_key: secret({
    example: 'GCG_STORE_KEY',
    reload: 'restart',
    doc: 'Encrypts what is stored. Needed with redis, and the same for all instances.',
  }),
  encryption_key_previous: secret({
    example: 'GCG_STORE_KEY_PREVIOUS',
    reload: 'restart',
    doc: 'Opens what was encrypted with the key before, while the key is changed from instance to instance.',
  }),
  url: text(null, {
    example: 'rediss://redis.example.com:6379',
    reload: 'restart',
    doc: 'The server with redis: redis://HOST:PORT/DATABASE, rediss://… with TLS, or unix:/PATH.',
    more: 'With sentinel: those of the Sentinels, with commas. No user and no password: URLs end up in logs.',
  }),
  sentinel: text(null, {
    parse: (name) => (/^[A-Za-z0-9._-]{1,128}$/.test(name) ? ok(name) : err('is not a name that a Sentinel can know')),
    example: 'mymaster',
    reload: 'restart',
    doc: 'The name by which Redis Sentinels know the master; url is then theirs.',
  }),
  sentinel_username: text(null, { example: 'gcg', reload: 'restart', doc: 'The user at the Sentinels.' }),
  sentinel_password: secret({ example: 'SENTINEL_PASSWORD', reload: 'restart', doc: 'The password at the Sentinels.' }),
  username: text(null, { example: 'gcg', reload: 'restart', doc: 'The user at the server; none: its default user.' }),
  password: secret({
    example: 'REDIS_PASSWORD',
    reload: 'restart',
    doc: 'The password at the server; a file of it is read again at each connection.',
  }),
  ca_file: path({
    check: checkCertificates,
    example: '/etc/ssl/redis-ca.pem',
    reload: 'restart',
    doc: 'Trust these CAs too (PEM) for the server, with rediss. Certificate and name are always verified.',
  }),
  cert_file: path({
    check: checkOwnCertificate,
    example: '/etc/genesys-cloud-gateway/redis.crt',
    reload: 'restart',
    doc: 'The certificate to show to the server (PEM).',
  }),
  key_file: path({
    check: checkKey,
    example: '/etc/genesys-cloud-gateway/redis.key',
    reload: 'restart',
    doc: 'Its private key (PEM).',
  }),
});

interface CommonConfig {
  readonly prefix: string;
  readonly encryptionKey: SecretSource | null;
  readonly encryptionKeyPrevious: SecretSource | null;
}

/** A store of this process alone. The path is `''` only for a memory store on a machine without a home folder. */
export interface LocalStoreConfig extends CommonConfig {
  readonly type: 'memory' | 'file';
  readonly path: string;
}

/** A store that instances share. */
export interface RedisStoreConfig extends CommonConfig {
  readonly type: 'redis';
  /** The folder of what the server does not take; `''`: none. */
  readonly path: string;
  readonly encryptionKey: SecretSource;
  /** The server, or the Sentinels where `sentinel` is set. */
  readonly place: RedisPlace;
  readonly sentinel: string | null;
  readonly sentinelUsername: string | null;
  readonly sentinelPassword: SecretSource | null;
  readonly username: string | null;
  readonly password: SecretSource | null;
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
}

/** `[store]`. */
export type StoreConfig = LocalStoreConfig | RedisStoreConfig;

type StoreReader = SectionReader<(typeof store)['options']>;

/** Reads `[store]`. */
export function readStore(
  context: SectionContext,
  credentials: readonly CredentialConfig[],
  clients: readonly ClientConfig[],
): StoreConfig {
  const reader = store.reader(context);
  const chosen = reader.get('type');
  const common = {
    prefix: reader.get('prefix'),
    encryptionKey: reader.get('encryption_key'),
    encryptionKeyPrevious: reader.get('encryption_key_previous'),
  };
  if (common.encryptionKeyPrevious !== null && common.encryptionKey === null)
    reader.problem('encryption_key_previous', 'opens what the key before encrypted; set encryption_key to the one now');
  if (chosen === 'redis') {
    const redis = readRedis(reader);
    // Where it is missing, which is reported, nobody gets this configuration.
    const encryptionKey = common.encryptionKey as SecretSource;
    return { type: chosen, path: reader.get('path') ?? '', ...common, ...redis, encryptionKey };
  }
  // Of a type that is misspelt that is said, and no more.
  if (chosen !== null || !reader.isSet('type')) refuseRedisKeys(reader, chosen);
  // What a person logged in for, and what applications hold and cannot ask for again, must outlive the process.
  const wantsFile = clients.length > 0 || credentials.some(({ grantType }) => USER_GRANTS.has(grantType));
  const type = chosen ?? (wantsFile ? 'file' : 'memory');
  const path = reader.get('path') ?? defaultStateFolder(context);
  if (path === undefined && type === 'file') {
    reader.problem(
      'path',
      'is missing; there is no home folder here, so say where tokens may be kept, or set type = memory',
    );
  }
  return { type, path: path ?? '', ...common };
}

const REDIS_KEYS = [
  'url',
  'sentinel',
  'sentinel_username',
  'sentinel_password',
  'username',
  'password',
  'ca_file',
  'cert_file',
  'key_file',
] as const;

/** Settings of a server where none is used: by mistake where nothing else was chosen, else for another time. */
function refuseRedisKeys(reader: StoreReader, chosen: 'memory' | 'file' | null): void {
  for (const key of REDIS_KEYS) {
    if (!reader.isSet(key)) continue;
    if (chosen !== null) {
      reader.warning(key, `has no effect with type = ${chosen}`);
      continue;
    }
    reader.get(key);
    reader.problem(key, 'needs type = redis: without it no server is used');
  }
}

function readRedis(reader: StoreReader): Omit<RedisStoreConfig, keyof CommonConfig | 'type' | 'path'> {
  const { url, ...values } = reader.values('type', 'path', 'prefix', 'encryption_key', 'encryption_key_previous');
  const { sentinel, certFile, keyFile } = values;
  const place = readPlace(reader, url, sentinel);
  if (!reader.isSet('encryption_key')) {
    reader.missing(
      'encryption_key',
      'is missing: tokens leave this machine encrypted only. Make one with "openssl rand -hex 32", the same for all ' +
        'instances, and name it by encryption_key_file or encryption_key_env',
    );
  }
  for (const key of ['sentinel_username', 'sentinel_password'] as const)
    if (!reader.isSet('sentinel') && reader.isSet(key))
      reader.problem(key, 'is for Sentinels; set sentinel to the name of the master');
  for (const [user, password] of [
    ['username', 'password'],
    ['sentinel_username', 'sentinel_password'],
  ] as const)
    if (reader.isSet(user) && !reader.isSet(password))
      reader.missing(user, `has no password: set ${password}_file, or leave the user out`);
  checkTls(reader, place, { certFile, keyFile });
  return { place, ...values };
}

/** The servers of `url`; where it cannot be used, which is reported, one that nobody will ask. */
function readPlace(reader: StoreReader, written: string | null, sentinel: string | null): RedisPlace {
  const nowhere: RedisPlace = { addresses: [{ kind: 'unix', path: '/nonexistent' }], database: 0 };
  if (written === null) {
    if (!reader.isSet('url'))
      reader.missing('url', 'is missing: where is the server? Write it like rediss://redis.example.com:6379');
    return nowhere;
  }
  const parsed = parseRedisUrl(written);
  if (!parsed.ok) {
    reader.problem('url', parsed.message);
    return nowhere;
  }
  const { addresses } = parsed.value;
  if (sentinel === null && addresses.length > 1)
    reader.problem('url', 'names several servers: with Sentinels, set sentinel; of a cluster, one node is enough');
  if (sentinel !== null && addresses.some(({ kind }) => kind === 'unix'))
    reader.problem('url', 'names a socket, and a Sentinel listens on a port');
  const hasPlain = addresses.some((address) => address.kind === 'tcp' && !address.isTls);
  if (hasPlain && addresses.some((address) => address.kind === 'tcp' && address.isTls))
    reader.problem('url', 'is redis:// here and rediss:// there: all must have TLS, or none');
  if (addresses.some((one) => one.kind === 'tcp' && !one.isTls && !isLoopbackHost(one.host)))
    reader.warning(
      'url',
      'is without TLS: whoever sees that traffic sees the password, and may change it; use rediss://',
    );
  return parsed.value;
}

function checkTls(
  reader: StoreReader,
  { addresses }: RedisPlace,
  { certFile, keyFile }: Pick<RedisStoreConfig, 'certFile' | 'keyFile'>,
): void {
  const hasTls = addresses.some((address) => address.kind === 'tcp' && address.isTls);
  for (const key of ['ca_file', 'cert_file', 'key_file'] as const)
    if (!hasTls && reader.isSet(key) && reader.isSet('url'))
      reader.problem(key, 'is for TLS, and store.url has none: write rediss://');
  if (reader.isSet('cert_file') && !reader.isSet('key_file')) reader.missing('key_file', 'is missing beside cert_file');
  if (reader.isSet('key_file') && !reader.isSet('cert_file')) reader.missing('cert_file', 'is missing beside key_file');
  checkPemPair(reader, certFile, keyFile);
}

const FOLDER = 'genesys-cloud-gateway';

/** `$XDG_STATE_HOME` or `~/.local/state`, `%LOCALAPPDATA%` on Windows; undefined without any of them. */
export function defaultStateFolder({
  env,
  home,
  platform,
}: Pick<SectionContext, 'env' | 'home' | 'platform'>): string | undefined {
  const paths = pathsOf(platform);
  const xdg = env.XDG_STATE_HOME;
  if (xdg !== undefined && paths.isAbsolute(xdg)) return paths.join(xdg, FOLDER);
  if (platform === 'win32') {
    const local = env.LOCALAPPDATA || (home === undefined ? undefined : paths.join(home, 'AppData', 'Local'));
    return local === undefined ? undefined : paths.join(local, FOLDER);
  }
  return home === undefined ? undefined : paths.join(home, '.local', 'state', FOLDER);
}
