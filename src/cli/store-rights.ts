// What a user of a shared store has to be allowed there: read off the scripts, for a script may only do what its user may.

import { RECORD_SCRIPTS } from '../auth/credentials/store/redis-records.ts';
import { STORE_SCRIPTS } from '../auth/credentials/store/redis-scripts.ts';
import type { RedisStoreConfig } from '../config/sections/store.ts';
import { SIGN_OF_LIFE } from '../redis/instances.ts';
import { META } from '../redis/meta.ts';
import type { Script } from '../redis/script.ts';
import { TICK } from '../upstream/rate-limit/quota-script.ts';

/** Every script that is run there, in an order in which each trial finds what the ones before have left. */
export const SHARED_SCRIPTS: readonly Script[] = [META, SIGN_OF_LIFE, ...STORE_SCRIPTS, ...RECORD_SCRIPTS, TICK];

/** The commands that are sent as such. */
export const SENT_COMMANDS: readonly string[] = [
  ...['hello', 'auth', 'evalsha', 'eval', 'time', 'subscribe'],
  ...['del', 'hget', 'pttl', 'zrem'],
];

/** What only `gcg check --online` and `gcg doctor` send; they do without, and say so. */
export const OPTIONAL_COMMANDS: readonly string[] = ['info'];

/** Every command that the user needs, sorted. */
export function neededCommands(scripts: readonly Script[] = SHARED_SCRIPTS): readonly string[] {
  const inScripts = scripts.flatMap(({ text }) =>
    [...text.matchAll(/redis\.p?call\(\s*'([A-Za-z]+)'/g)].map(([, command = '']) => command.toLowerCase()),
  );
  return [...new Set([...SENT_COMMANDS, ...inScripts])].sort();
}

/** The commands whose refusal a script takes as an answer, so that running it does not show that the right is missing. */
export function guardedCommands(scripts: readonly Script[] = SHARED_SCRIPTS): readonly string[] {
  const names = scripts.flatMap(({ text }) => [...text.matchAll(/redis\.pcall\(\s*'([A-Za-z]+)'/g)]);
  return [...new Set(names.map(([, name = '']) => name.toUpperCase()))];
}

/** The line by which an administrator of the server makes the user. */
export function aclLine({ prefix, username }: Pick<RedisStoreConfig, 'prefix' | 'username'>): string {
  const rights = [...neededCommands(), ...OPTIONAL_COMMANDS].map((command) => `+${command}`).join(' ');
  return `ACL SETUSER ${username ?? 'gcg'} on '>PASSWORD' resetkeys '~{${prefix}}:*' resetchannels '&{${prefix}}:*' -@all ${rights}`;
}
