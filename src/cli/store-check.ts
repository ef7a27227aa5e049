// Examines a shared store: whether it can be reached, whether every script may run there, and whether it is set up to
// keep what it is given. Writes under `{prefix}:check:` only, and takes that away again.

import type { Clock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { formatRedisAddress } from '../config/redis-url.ts';
import { USER_GRANTS } from '../config/sections/credential.ts';
import type { RedisStoreConfig } from '../config/sections/store.ts';
import { RedisConnection } from '../redis/connection.ts';
import type { RedisError } from '../redis/redis-error.ts';
import { EXIT } from './io.ts';
import { SILENT } from './standalone.ts';
import { aclLine, guardedCommands, SHARED_SCRIPTS } from './store-rights.ts';

/** One thing that was looked at. */
export interface StoreFinding {
  readonly step: string;
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly detail: string;
}

export interface StoreExamination {
  readonly findings: readonly StoreFinding[];
  /** 0; 77 where it refuses us, 69 where it cannot be reached. */
  readonly code: number;
}

/** The largest difference of clocks that is not worth a word. */
const LARGEST_SKEW_MS = 1_000;

/** Looks at the store of a configuration; leaves no connection and no record. */
export async function examineStore(
  { store, credentials, clients }: GatewayConfig & { readonly store: RedisStoreConfig },
  clock: Clock,
): Promise<StoreExamination> {
  // Its timers keep no process alive.
  const alive = setInterval(() => {}, 60_000);
  const connection = new RedisConnection({ config: store, clock, random: Math.random, log: SILENT, isInstance: false });
  // Its rights to hear are found with the connection.
  connection.subscribe(`${connection.prefix}check:changes`, () => {});
  try {
    const failure = await connection.open().catch((error: RedisError) => error);
    if (failure !== null) {
      const code = failure.kind === 'offline' || failure.kind === 'late' ? EXIT.unavailable : EXIT.refused;
      const advice = failure.word === 'NOPERM' ? `; as its administrator: ${aclLine(store)}` : '';
      return { findings: [{ step: 'store', status: 'failed', detail: `${failure.message}${advice}` }], code };
    }
    const keepsLogins = clients.length > 0 || credentials.some(({ grantType }) => USER_GRANTS.has(grantType));
    const findings = [
      reached(connection, store),
      await tryScripts(connection, store),
      clockFinding(connection),
      ...(await examineServer(connection, keepsLogins)),
    ];
    return { findings, code: findings.some(({ status }) => status === 'failed') ? EXIT.refused : EXIT.ok };
  } finally {
    await connection.close();
    clearInterval(alive);
  }
}

function reached(connection: RedisConnection, { sentinel, username, place }: RedisStoreConfig): StoreFinding {
  const { server, version, roundTripMs } = connection.status();
  const via =
    sentinel === null ? '' : `, the master "${sentinel}" of ${place.addresses.map(formatRedisAddress).join(', ')}`;
  const who = username === null ? 'the default user' : `the user ${username}`;
  const detail = `${version} at ${server}${via}, as ${who}, round trip ${(roundTripMs ?? 0).toFixed(1)} ms`;
  return { step: 'store', status: 'ok', detail };
}

/** Runs every script once: a user may be allowed to run scripts, and not what is in them. */
async function tryScripts(connection: RedisConnection, store: RedisStoreConfig): Promise<StoreFinding> {
  const step = 'store rights';
  const used = new Set<string>();
  const failed: string[] = [];
  let reason = '';
  for (const script of SHARED_SCRIPTS) {
    const keys = script.trial.keys.map((end) => `${connection.prefix}check:${end}`);
    for (const key of keys) used.add(key);
    try {
      const { args, again } = script.trial;
      await connection.script({ script, keys, args });
      if (again !== undefined) await connection.script({ script, keys, args: again });
    } catch (error) {
      failed.push(script.name);
      reason = (error as RedisError).message;
    }
  }
  const [first = ''] = used;
  const refused = async (command: readonly string[]) => {
    const error = await connection.command(command).then(
      () => null,
      (failure: RedisError) => failure,
    );
    // That it was no such value, or a word too few, says that it may be sent.
    if (error === null || (error.kind === 'refused' && error.word !== 'NOPERM')) return;
    failed.push((command[0] ?? '').toLowerCase());
    reason = error.message;
  };
  for (const name of guardedCommands()) await refused([name, first]);
  // What is left where these are refused is written again by the next examination.
  await refused(['DEL', ...used]);
  await refused(['ZREM', first, 'check']);
  if (failed.length === 0)
    return {
      step,
      status: 'ok',
      detail: `all ${SHARED_SCRIPTS.length} scripts may run there under ${connection.prefix}`,
    };
  const detail = `${failed.join(', ')}: ${reason}; as its administrator: ${aclLine(store)}`;
  return { step, status: 'failed', detail };
}

function clockFinding({ time }: RedisConnection): StoreFinding {
  const ms = Math.round(time.aheadMs);
  const figure = `its clock is ${Math.abs(ms)} ms ${ms < 0 ? 'behind' : 'ahead of'} this machine's`;
  if (Math.abs(ms) <= LARGEST_SKEW_MS) return { step: 'store clock', status: 'ok', detail: figure };
  return { step: 'store clock', status: 'warning', detail: `${figure}: set both, by NTP for instance` };
}

/** What its administrator set up; needs the right to `info`. */
async function examineServer(connection: RedisConnection, keepsLogins: boolean): Promise<readonly StoreFinding[]> {
  let info: Map<string, string>;
  try {
    info = readInfo(String(await connection.command(['INFO'])));
  } catch {
    const detail = 'the user has no right to info: eviction, persistence and replicas are not looked at';
    return [{ step: 'store settings', status: 'skipped', detail }];
  }
  return [evictionFinding(info), persistenceFinding(info, keepsLogins), replicaFinding(info)];
}

function readInfo(text: string): Map<string, string> {
  return new Map(
    text.split(/\r?\n/).flatMap((line): [string, string][] => {
      const at = line.indexOf(':');
      return at < 1 || line.startsWith('#') ? [] : [[line.slice(0, at), line.slice(at + 1)]];
    }),
  );
}

function evictionFinding(info: Map<string, string>): StoreFinding {
  const step = 'store eviction';
  const policy = (info.get('maxmemory_policy') ?? 'unknown').slice(0, 40);
  if (policy === 'noeviction') return { step, status: 'ok', detail: 'maxmemory-policy is noeviction' };
  const detail = `maxmemory-policy is ${policy}: under pressure locks and logins are thrown away; set noeviction`;
  return { step, status: 'warning', detail };
}

function persistenceFinding(info: Map<string, string>, keepsLogins: boolean): StoreFinding {
  const step = 'store persistence';
  if (info.get('aof_enabled') === '1') return { step, status: 'ok', detail: 'the append-only file is on' };
  const savedAt = Number(info.get('rdb_last_save_time') ?? 0);
  // A server that never saved tells the time of its start.
  const startedAt = Number(info.get('server_time_usec') ?? 0) / 1e6 - Number(info.get('uptime_in_seconds') ?? 0);
  const found =
    savedAt > startedAt + 2
      ? 'it makes snapshots alone: a crash loses what was written since the last one'
      : 'it has saved nothing: after a crash it knows only what running instances still hold';
  if (!keepsLogins) return { step, status: 'ok', detail: `${found}; no login is kept there` };
  return { step, status: 'warning', detail: `${found}; set appendonly yes` };
}

function replicaFinding(info: Map<string, string>): StoreFinding {
  const replicas = Number(info.get('connected_slaves') ?? 0);
  const detail = replicas === 0 ? 'none: while this server is away, no user logs in' : `${replicas} connected`;
  return { step: 'store replicas', status: 'ok', detail };
}
