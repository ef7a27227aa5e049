// `gcg whoami [NAME]`: the organisation, the user and the OAuth client behind each credential, from the running gateway
// or, without one, by a token that this process obtains.

import type { Credential } from '../../auth/credentials/credentials.ts';
import { onOneLine } from '../../config/problem.ts';
import { isGatewayError } from '../../errors.ts';
import { askIdentity, type Identity, OwnCallError } from '../../upstream/own-calls.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { askStatus, createAdminRequest, exitCodeOf, loadOrReport, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';
import { withStandaloneCredentials } from '../standalone.ts';
import { columns } from '../table.ts';
import { askWhoseTheyAre, type ToldCredential } from '../who-is-it.ts';

/** What is found out of one credential. */
interface Finding extends Identity {
  readonly name: string;
  readonly region: string;
  readonly problem: string | null;
  readonly code: number;
}

const NOBODY: Identity = { organization: null, user: null, oauthClient: null };

/** 0 when all is known, 77 when a credential is refused or waits for a login, 69 when the platform did not answer. */
export async function whoami(args: CommandLine, io: Io): Promise<number> {
  const config = loadOrReport(args, io, false);
  if (typeof config === 'number') return config;
  const ask = createAdminRequest(config, io);
  const status = await askStatus(ask);
  if (status?.error) {
    io.stderr.write(`gcg: ${refusal(status.error)}\n`);
    return exitCodeOf(status.error);
  }
  const [name] = args.positionals;
  const isWanted = (one: string) => name === undefined || one === name;
  if (status !== null) {
    const told = await askWhoseTheyAre(ask, isWanted);
    if (told === null) {
      io.stderr.write('gcg: what answers there is no gateway of this version\n');
      return EXIT.unavailable;
    }
    return tell(told.map(fromStatus), args, io);
  }
  const checked = loadOrReport(args, io, true);
  if (typeof checked === 'number') return checked;
  return withStandaloneCredentials(checked, io, async (credentials, upstream) => {
    const wanted = credentials.list().filter((one) => isWanted(one.config.name));
    return tell(await Promise.all(wanted.map((one) => findOut(one, upstream))), args, io);
  });
}

function fromStatus({ name, identity, identityProblem, upstream, renewal, lastError }: ToldCredential): Finding {
  const isRefused = renewal === 'rejected' || renewal === 'login_required';
  const unknown = lastError?.message ?? 'the gateway does not know yet';
  return {
    name,
    region: upstream?.region ?? '',
    organization: identity?.organization ?? null,
    user: identity?.user ?? null,
    oauthClient: identity?.oauthClient ?? null,
    problem: identityProblem ?? (identity ? null : unknown),
    code: identity ? EXIT.ok : isRefused ? EXIT.refused : EXIT.unavailable,
  };
}

async function findOut(credential: Credential, upstream: Upstream): Promise<Finding> {
  const { name, hosts } = credential.config;
  const region = hosts.domain;
  try {
    const token = await credential.source.token();
    const { identity, problem } = await askIdentity({ send: upstream.send, credential, token });
    return { name, region, ...identity, problem, code: EXIT.ok };
  } catch (error) {
    if (!isGatewayError(error)) throw error;
    const statusCode = error instanceof OwnCallError ? error.upstreamStatus : error.statusCode;
    const code = exitCodeOf({ status: statusCode, code: error.code });
    return { name, region, ...NOBODY, problem: error.message, code };
  }
}

function tell(findings: readonly Finding[], { flags, positionals: [name = ''] }: CommandLine, io: Io): number {
  if (findings.length === 0) {
    io.stderr.write(`gcg: there is no credential called "${onOneLine(name)}"\n`);
    return EXIT.usage;
  }
  if (flags.has('json')) {
    const documents = findings.map(({ code: _code, ...finding }) => finding);
    io.stdout.write(`${JSON.stringify(documents, null, 2)}\n`);
  } else {
    const rows = findings.map((one) => [
      one.name,
      one.organization?.name ?? '-',
      one.user?.name ?? '-',
      one.oauthClient?.name ?? '-',
      one.region,
    ]);
    const lines = columns([['CREDENTIAL', 'ORGANISATION', 'USER', 'OAUTH CLIENT', 'REGION'], ...rows]);
    io.stdout.write(`${lines.map(onOneLine).join('\n')}\n`);
    for (const one of findings)
      if (one.problem !== null) io.stderr.write(`${onOneLine(`gcg: ${one.name}: ${one.problem}`)}\n`);
  }
  const codes = findings.map(({ code }) => code);
  return [EXIT.refused, EXIT.unavailable, EXIT.failure].find((code) => codes.includes(code)) ?? EXIT.ok;
}
