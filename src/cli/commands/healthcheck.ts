// `gcg healthcheck` and `gcg wait`: ask the running gateway whether it is ready, once or until it is, for containers
// without curl. Load the configuration and Node's HTTP client, nothing of the server.

import { setTimeout as sleep } from 'node:timers/promises';
import { type TokenState, withoutToken } from '../../auth/credentials/token-source.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { type CallableAddress, formatListenAddress } from '../../config/listen-address.ts';
import { probedAddresses } from '../../config/listeners.ts';
import { onOneLine } from '../../config/problem.ts';
import { parseDuration } from '../../config/values.ts';
import { loadToAsk, whereIsDescriptor } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { askBriefly, PROBE_TIMEOUT_MS, READINESS } from '../ask-briefly.ts';
import { askGateway, type GatewayResponse, OtherProgram, Unanswered } from '../ask-gateway.ts';
import { EXIT, type Io } from '../io.ts';

/**
 * The result of a probe: ready, or the reason in words. `absent`: nothing listens there, `foreign`: something else does,
 * `refused`: a required credential is refused, or a person must log in; `waiting`: anything else.
 */
export type Probe =
  | { readonly ready: true }
  | { readonly ready: false; readonly why: string; readonly kind: 'absent' | 'foreign' | 'refused' | 'waiting' };

/** The address a probe asks. `isEncrypted`: the listener there uses TLS with the gateway's certificate. */
export interface ProbeTarget {
  readonly address: CallableAddress;
  readonly isEncrypted: boolean;
  /** Where the reasons are told, if not there: a health listener is for others too, and tells them none. */
  readonly reasonsAt?: ProbeTarget | undefined;
}

/**
 * 0 when ready, 1 when not or when nothing answers, 2 for a wrong duration, 78 where none would start either. Of the
 * time for the answer `spentMs` have gone already.
 */
export async function healthcheck(args: CommandLine, io: Io, spentMs = 0): Promise<number> {
  const target = probeTarget(args, io);
  if (typeof target === 'number') return target;
  const probe = await probeReadiness(target, target.timeoutMs, spentMs);
  if (probe.ready) return EXIT.ok;
  io.stderr.write(`not ready: ${probe.why}\n`);
  return probe.kind === 'absent' && target.isBroken ? EXIT.badConfig : EXIT.failure;
}

/** Returns where to ask and for how long, or an exit code after printing what is wrong. */
export function probeTarget(
  args: CommandLine,
  io: Io,
  defaultTimeoutMs = PROBE_TIMEOUT_MS,
): (ProbeTarget & { timeoutMs: number; isBroken: boolean }) | number {
  const flag = args.flags.get('timeout');
  const timeout = typeof flag === 'string' ? parseDuration(flag) : null;
  if (timeout !== null && !timeout.ok) {
    io.stderr.write(`gcg: --timeout: ${timeout.message}\n`);
    return EXIT.usage;
  }
  // Only the gateway's address is needed: the variables with the credential may be missing in this environment.
  const { config, isBroken } = loadToAsk(args, io);
  const target = healthTarget(config);
  if (!target) {
    const [descriptor] = config.server.listen;
    const why = descriptor === undefined ? 'the configuration names no address to ask' : whereIsDescriptor(descriptor);
    io.stderr.write(`gcg: ${why}\n`);
    return isBroken ? EXIT.badConfig : EXIT.usage;
  }
  return { ...target, isBroken, timeoutMs: timeout?.value ?? defaultTimeoutMs };
}

/** The health listener where there is one, else the listener for calls. */
function healthTarget({ server }: GatewayConfig): ProbeTarget | undefined {
  const { health, other } = probedAddresses(server);
  const withReasons = other && { address: other, isEncrypted: other.kind === 'tcp' && server.tls !== null };
  return health === undefined ? withReasons : { address: health, isEncrypted: false, reasonsAt: withReasons };
}

/** Asks /readyz once. Never rejects. */
export async function probeReadiness(
  { reasonsAt, ...target }: ProbeTarget,
  timeoutMs: number,
  spentMs = 0,
): Promise<Probe> {
  const probe = await askReadiness(target, timeoutMs, spentMs);
  if (probe.ready || reasonsAt === undefined || probe.kind === 'absent' || probe.kind === 'foreign') return probe;
  const inWords = await askReadiness(reasonsAt, timeoutMs, spentMs);
  return inWords.ready || inWords.kind === 'absent' || inWords.kind === 'foreign' ? probe : inWords;
}

async function askReadiness({ address, isEncrypted }: ProbeTarget, timeoutMs: number, spentMs: number): Promise<Probe> {
  // Nothing secret is sent or received, and an expired certificate does not make a gateway that serves "not ready".
  const tls = isEncrypted ? { rejectUnauthorized: false } : null;
  // Not performance.now(), whose module nothing else here loads.
  const endsAt = process.uptime() * 1000 + timeoutMs - spentMs;
  const leftMs = () => Math.max(1, Math.ceil(endsAt - process.uptime() * 1000));
  try {
    let response = isEncrypted ? undefined : await askBriefly(address, READINESS, leftMs());
    if (response === undefined) {
      const headers = { host: 'localhost' };
      response = await askGateway({ address, tls, method: 'GET', path: READINESS, headers, timeoutMs: leftMs() });
    }
    if (response === null)
      return { ready: false, why: `no gateway is running there (${formatListenAddress(address)})`, kind: 'absent' };
    return response.status === 200 ? { ready: true } : { ready: false, ...describe(response) };
  } catch (error) {
    const isForeign = error instanceof OtherProgram;
    // A timer may be over a moment before that clock says so.
    const isLate = error instanceof Unanswered || (!isForeign && process.uptime() * 1000 >= endsAt);
    const { message } = isLate ? new Unanswered(timeoutMs) : (error as Error);
    const why = `${onOneLine(message)}${isForeign ? `: ${formatListenAddress(address)}` : ''}`;
    return { ready: false, why, kind: isForeign ? 'foreign' : 'waiting' };
  }
}

/** What /readyz says of a credential; `error` is for callers who may use it. */
interface ReadyCredential {
  readonly name: string;
  readonly required: boolean;
  readonly token: TokenState;
  readonly renewal: string;
  readonly error?: { readonly message: string };
}

function describe({ text, status: statusCode }: GatewayResponse): { why: string; kind: 'refused' | 'waiting' } {
  try {
    const { status, credentials = [] } = JSON.parse(text) as { status: string; credentials?: ReadyCredential[] };
    const missing = withoutToken(credentials);
    const isRefused = missing.some(({ renewal }) => renewal === 'rejected' || renewal === 'login_required');
    const why =
      status === 'draining'
        ? 'it is shutting down, once the calls in progress are done'
        : missing.map(describeCredential).join('; ') || status;
    return { why: onOneLine(why) || `status ${statusCode}`, kind: isRefused ? 'refused' : 'waiting' };
  } catch {
    return { why: `status ${statusCode}`, kind: 'waiting' };
  }
}

function describeCredential({ name, renewal, error }: ReadyCredential): string {
  const message = error?.message;
  if (message) return `credential ${name}: ${message.replace(`credential ${name} `, '')}`;
  return `credential ${name} ${IN_WORDS[renewal] ?? 'has no token yet'}`;
}

/** What a renewal without a token means, where the gateway does not tell the reason. */
const IN_WORDS: Readonly<Record<string, string>> = {
  running: 'is obtaining its first token',
  backoff: 'could not obtain a token yet, and tries again (gcg status says why)',
  rejected: 'is refused by Genesys Cloud, or cannot be used as it is configured (gcg status says why)',
  login_required: 'has nobody logged in: run gcg login',
};

/** Longest wait until the gateway is ready, ms, without --timeout. */
const DEFAULT_WAIT_MS = 60_000;
/** Longest wait for one response, ms; a gateway that hangs is asked again. */
const LONGEST_PROBE_MS = 3_000;
const PAUSE_MS = 250;

/**
 * 0 when ready, 1 when it was not in time, 78 where no gateway answered and none would start. With --fail-fast at once
 * also 77 for a credential that is refused or needs a person, and 69 where something else answers. Says on stderr what
 * it waits for, when that changes.
 */
export async function wait(args: CommandLine, io: Io): Promise<number> {
  const target = probeTarget(args, io, DEFAULT_WAIT_MS);
  if (typeof target === 'number') return target;
  const isImpatient = args.flags.has('fail-fast');
  const deadline = performance.now() + target.timeoutMs;
  let reported = '';
  for (;;) {
    const leftMs = deadline - performance.now();
    const probe = await probeReadiness(target, Math.max(1, Math.min(LONGEST_PROBE_MS, leftMs)));
    if (probe.ready) return EXIT.ok;
    const noSense = isImpatient ? senseless(probe.kind, target.isBroken) : null;
    if (noSense !== null) {
      io.stderr.write(`not ready: ${probe.why}\n`);
      return noSense;
    }
    if (deadline - performance.now() <= PAUSE_MS) {
      io.stderr.write(`not ready within ${target.timeoutMs / 1000} s: ${probe.why}\n`);
      return probe.kind === 'absent' && target.isBroken ? EXIT.badConfig : EXIT.failure;
    }
    if (probe.why !== reported) io.stderr.write(`waiting: ${probe.why}\n`);
    reported = probe.why;
    await sleep(PAUSE_MS);
  }
}

/** The exit code where waiting longer mends nothing, else null. */
function senseless(kind: 'absent' | 'foreign' | 'refused' | 'waiting', isBroken: boolean): number | null {
  if (kind === 'refused') return EXIT.refused;
  if (kind === 'foreign') return EXIT.unavailable;
  return kind === 'absent' && isBroken ? EXIT.badConfig : null;
}
