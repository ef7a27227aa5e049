// `gcg check --online`: a token for each credential and one harmless call with it, without opening a listener.

import type { Credential, Credentials } from '../auth/credentials/credentials.ts';
import { systemClock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { onOneLine } from '../config/problem.ts';
import { type GatewayError, isGatewayError } from '../errors.ts';
import { askIdentity, OwnCallError } from '../upstream/own-calls.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { EXIT, type Io } from './io.ts';
import { withStandaloneCredentials } from './standalone.ts';
import { whoInWords } from './who-is-it.ts';

/** Longer than any wait of a call, so that its own error is told. */
const LONGEST_TRIAL_MS = 90_000;

/**
 * One line per credential on stdout, those of a shared store before them, and the verdict: on stdout when all are good,
 * else on stderr. 0 when all are good, 77 when one is refused, 69 when the platform cannot be reached or answers something else.
 */
export async function checkOnline(config: GatewayConfig, io: Io): Promise<number> {
  const code = await checkStore(config, io);
  if (code !== EXIT.ok) return code;
  return withStandaloneCredentials(config, io, (credentials, upstream) => tryAll(credentials, upstream, io), {
    isTrial: true,
  });
}

/** A shared store comes first: what is logged in is read from it. */
async function checkStore(config: GatewayConfig, io: Io): Promise<number> {
  const { store } = config;
  if (store.type !== 'redis') return EXIT.ok;
  const { examineStore } = await import('./store-check.ts');
  const { findings, code } = await examineStore({ ...config, store }, systemClock);
  for (const { step, status, detail } of findings)
    io.stdout.write(`  ${(status === 'failed' ? 'FAILED' : status).padEnd(8)}${step}: ${onOneLine(detail)}\n`);
  if (code !== EXIT.ok) io.stderr.write('gcg: the configuration can be read, but its store cannot be used\n');
  return code;
}

async function tryAll(credentials: Credentials, upstream: Upstream, io: Io): Promise<number> {
  const codes: number[] = [];
  const failed: string[] = [];
  for (const credential of credentials.list()) {
    const { name } = credential.config;
    const { code, words } = await tryCredential(upstream, credential);
    io.stdout.write(`  ${code === EXIT.ok ? 'ok    ' : 'FAILED'}  ${name}: ${words}\n`);
    codes.push(code);
    if (code !== EXIT.ok) failed.push(name);
  }
  if (failed.length === 0) io.stdout.write('OK: the configuration is good, and so is every credential\n');
  else io.stderr.write(`gcg: the configuration can be read, but no call succeeds with ${failed.join(', ')}\n`);
  return [EXIT.refused, EXIT.unavailable, EXIT.failure].find((code) => codes.includes(code)) ?? EXIT.ok;
}

async function tryCredential(upstream: Upstream, credential: Credential): Promise<{ code: number; words: string }> {
  try {
    const token = await credential.source.token();
    const { identity, problem } = await askIdentity({
      send: upstream.send,
      credential,
      token,
      timeoutMs: LONGEST_TRIAL_MS,
    });
    const who = whoInWords(identity);
    const words = `token obtained, GET /api/v2/tokens/me answered 200${who === null ? '' : `: ${who}`}`;
    return { code: EXIT.ok, words: problem === null ? words : `${words} (${onOneLine(problem)})` };
  } catch (error) {
    if (!isGatewayError(error)) return { code: EXIT.failure, words: 'failed unexpectedly' };
    if (!(error instanceof OwnCallError)) return { code: exitCode(error), words: error.message };
    const isRefused = error.upstreamStatus === 401 || error.upstreamStatus === 403;
    const advice = isRefused
      ? 'the token is not accepted there; does the credential belong to this region?'
      : 'is this the API of Genesys Cloud, and is it well? gcg doctor looks';
    return {
      code: isRefused ? EXIT.refused : EXIT.unavailable,
      words: `a token was obtained, but ${error.message}: ${advice}`,
    };
  }
}

function exitCode(error: GatewayError): number {
  return error.code === 'gateway.credential.rejected' || error.code === 'gateway.login.required'
    ? EXIT.refused
    : EXIT.unavailable;
}
