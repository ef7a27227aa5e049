// `gcg logout [NAME]`: deletes the tokens of a login, in the running gateway or, without one, in the store. The platform
// is told with --revoke.

import type { Credential } from '../../auth/credentials/credentials.ts';
import { onOneLine } from '../../config/problem.ts';
import { USER_GRANTS } from '../../config/sections/credential.ts';
import { isGatewayError } from '../../errors.ts';
import type { Revocation } from '../../server/routes/admin.ts';
import { revokeToken } from '../../upstream/own-calls.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { type AdminRequest, exitCodeOf, findLoginTarget, type LoginTarget, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';
import { withStandaloneCredentials } from '../standalone.ts';

/**
 * 0 when no token is left; 69 when tokens are kept in memory and no gateway answers, or the platform was to end one and
 * did not; 77 without an admin's secret.
 */
export async function logout(args: CommandLine, io: Io): Promise<number> {
  const { flags, positionals } = args;
  const isAll = flags.has('all');
  const isRevoking = flags.has('revoke');
  if (isAll && positionals.length > 0) {
    io.stderr.write('gcg: name a credential or give --all, not both\n');
    return EXIT.usage;
  }
  const found = await findLoginTarget(args, io);
  if (typeof found === 'number') return found;
  if (found.kind === 'running') return logoutThere(found, isAll, isRevoking, io);
  const { config, credential } = found;
  if (config.store.type === 'memory') {
    io.stderr.write('gcg: no gateway is running, and nothing is kept without one ([store] type is memory)\n');
    return EXIT.unavailable;
  }
  return withStandaloneCredentials(config, io, async (credentials, upstream) => {
    const codes: number[] = [];
    for (const one of isAll ? credentials.list() : [credentials.get(credential.name)]) {
      if (one === undefined) continue;
      const revocation = isRevoking ? await revokeHere(one, upstream) : null;
      await one.logout();
      codes.push(report(one.config.name, revocation, io));
    }
    return Math.max(EXIT.ok, ...codes);
  });
}

async function logoutThere(
  { ask, credential, credentials }: LoginTarget & { kind: 'running' },
  isAll: boolean,
  isRevoking: boolean,
  io: Io,
): Promise<number> {
  const names = isAll
    ? credentials.filter(({ grantType }) => USER_GRANTS.has(grantType)).map(({ name }) => name)
    : [credential.name];
  if (names.length === 0) io.stderr.write('nobody is logged in: no credential of this gateway has a login\n');
  const codes: number[] = [];
  for (const name of names) codes.push(await logoutOne(ask, name, isRevoking, io));
  return Math.max(EXIT.ok, ...codes);
}

async function logoutOne(ask: AdminRequest, name: string, isRevoking: boolean, io: Io): Promise<number> {
  const path = `/-/credentials/${encodeURIComponent(name)}/logout${isRevoking ? '?revoke=true' : ''}`;
  const response = await ask('POST', path).catch(() => null);
  if (response === null || response.error !== null) {
    io.stderr.write(`gcg: ${response?.error ? refusal(response.error) : 'the gateway has stopped answering'}\n`);
    return response?.error ? exitCodeOf(response.error) : EXIT.unavailable;
  }
  const { revocation } = (response.body ?? {}) as { revocation?: Revocation | null };
  const isIgnored = isRevoking && !revocation;
  return report(
    name,
    isIgnored ? { revoked: false, problem: 'the gateway is too old for it' } : (revocation ?? null),
    io,
  );
}

/** Ends the stored token, or one that the stored login gives, at the platform. */
async function revokeHere(credential: Credential, { send }: Upstream): Promise<Revocation> {
  try {
    await revokeToken({ send, credential, token: await credential.source.token() });
    return { revoked: true, problem: null };
  } catch (error) {
    if (!isGatewayError(error)) throw error;
    return { revoked: false, problem: error.message };
  }
}

/** Says what came of it; `revocation` is null where nothing was to be told to the platform. Returns the exit code. */
function report(name: string, revocation: Revocation | null, io: Io): number {
  const done = `logged out: the tokens of ${name} are forgotten here`;
  const more =
    revocation === null
      ? '; Genesys Cloud was not told (--revoke tells it)'
      : revocation.revoked
        ? ', and Genesys Cloud has ended the token'
        : `, but Genesys Cloud did not end the token: ${revocation.problem}`;
  io.stderr.write(`${onOneLine(done + more)}\n`);
  return revocation?.revoked === false ? EXIT.unavailable : EXIT.ok;
}
