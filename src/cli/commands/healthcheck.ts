// `gcg healthcheck` and `gcg wait`: ask the running gateway whether it is ready, once or until it is, for containers
// without curl. Load the configuration and Node's HTTP client, nothing of the server.

import { setTimeout as sleep } from 'node:timers/promises';
import { type TokenState, withoutToken } from '../../auth/credentials/token-source.ts';
import type { GatewayConfig, ListenAddress } from '../../config/gateway-config.ts';
import { loadConfig } from '../../config/load.ts';
import { onOneLine } from '../../config/problem.ts';
import { parseDuration } from '../../config/values.ts';
import { askGateway, type GatewayResponse } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';

/** Longest wait for a response, ms, without --timeout. */
const DEFAULT_TIMEOUT_MS = 3000;

/** The result of a probe: ready, or the reason in words. */
export type Probe = { readonly ready: true } | { readonly ready: false; readonly why: string };

/** The address a probe asks. `isEncrypted`: the listener there uses TLS with the gateway's certificate. */
export interface ProbeTarget {
  readonly address: ListenAddress;
  readonly isEncrypted: boolean;
}

/** 0 when ready, 1 when not or when nothing answers, 2 for a wrong duration, 78 bad configuration. */
export async function healthcheck(args: CommandLine, io: Io): Promise<number> {
  const target = probeTarget(args, io);
  if (typeof target === 'number') return target;
  const probe = await probeReadiness(target, target.timeoutMs);
  if (probe.ready) return EXIT.ok;
  io.stderr.write(`not ready: ${probe.why}\n`);
  return EXIT.failure;
}

/** Returns where to ask and for how long, or an exit code after printing what is wrong. */
export function probeTarget(
  args: CommandLine,
  io: Io,
  defaultTimeoutMs = DEFAULT_TIMEOUT_MS,
): (ProbeTarget & { timeoutMs: number }) | number {
  const flag = args.flags.get('timeout');
  const timeout = typeof flag === 'string' ? parseDuration(flag) : null;
  if (timeout !== null && !timeout.ok) {
    io.stderr.write(`gcg: --timeout: ${timeout.message}\n`);
    return EXIT.usage;
  }
  // Only the gateway's address is needed: the variables with the credential may be missing in this environment.
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  if (!result.ok) {
    reportProblems(io, result.problems, []);
    return EXIT.badConfig;
  }
  const target = healthTarget(result.config);
  if (!target) {
    io.stderr.write(
      'gcg: the gateway listens on an inherited descriptor only: set server.health_listen to have an address to ask\n',
    );
    return EXIT.usage;
  }
  return { ...target, timeoutMs: timeout?.value ?? defaultTimeoutMs };
}

/** The health listener where there is one, else the listener for calls. */
function healthTarget({ server }: GatewayConfig): ProbeTarget | undefined {
  const plain = server.healthListen.find(({ kind }) => kind !== 'fd');
  const address = plain ?? [...server.adminListen, ...server.listen].find(({ kind }) => kind !== 'fd');
  return address && { address, isEncrypted: plain === undefined && address.kind === 'tcp' && server.tls !== null };
}

/** Asks /readyz once. Never rejects. */
export async function probeReadiness({ address, isEncrypted }: ProbeTarget, timeoutMs: number): Promise<Probe> {
  // Nothing secret is sent or received, and an expired certificate does not make a gateway that serves "not ready".
  const tls = isEncrypted ? { rejectUnauthorized: false } : null;
  try {
    const response = await askGateway({
      address,
      tls,
      method: 'GET',
      path: '/readyz',
      headers: { host: 'localhost' },
      timeoutMs,
    });
    if (response === null) return { ready: false, why: 'no gateway is running there' };
    return response.status === 200 ? { ready: true } : { ready: false, why: describe(response) };
  } catch (error) {
    return { ready: false, why: onOneLine((error as Error).message) };
  }
}

function describe({ text, status: statusCode }: GatewayResponse): string {
  try {
    const { status, credentials = [] } = JSON.parse(text) as {
      status: string;
      credentials?: { name: string; required: boolean; token: TokenState; renewal: string }[];
    };
    const missing = withoutToken(credentials);
    const words = [
      status,
      ...missing.map(({ name, token, renewal }) => `${name} has token ${token}, renewal ${renewal}`),
    ].join('; ');
    return onOneLine(words) || `status ${statusCode}`;
  } catch {
    return `status ${statusCode}`;
  }
}

/** Longest wait until the gateway is ready, ms, without --timeout. */
const DEFAULT_WAIT_MS = 60_000;
/** Longest wait for one response, ms; a gateway that hangs is asked again. */
const LONGEST_PROBE_MS = 3_000;
const PAUSE_MS = 250;

/** 0 when ready, 1 when it was not in time, 78 bad configuration. Says once, on stderr, what it waits for. */
export async function wait(args: CommandLine, io: Io): Promise<number> {
  const target = probeTarget(args, io, DEFAULT_WAIT_MS);
  if (typeof target === 'number') return target;
  const deadline = performance.now() + target.timeoutMs;
  let reported = '';
  for (;;) {
    const leftMs = deadline - performance.now();
    const probe = await probeReadiness(target, Math.max(1, Math.min(LONGEST_PROBE_MS, leftMs)));
    if (probe.ready) return EXIT.ok;
    if (deadline - performance.now() <= PAUSE_MS) {
      io.stderr.write(`not ready within ${target.timeoutMs / 1000} s: ${probe.why}\n`);
      return EXIT.failure;
    }
    if (probe.why !== reported) io.stderr.write(`waiting: ${probe.why}\n`);
    reported = probe.why;
    await sleep(PAUSE_MS);
  }
}
