// `gcg healthcheck` and `gcg wait`: ask the running gateway whether it is ready, once or until it is, for containers without curl. Loads the
// configuration and node:http, nothing of the server.

import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { isUsable, type TokenState } from '../../auth/credentials/token-source.ts';
import type { GatewayConfig, ListenAddress } from '../../config/gateway-config.ts';
import { loadConfig } from '../../config/load.ts';
import { parseDuration } from '../../config/values.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';

/** Longest wait for an answer, ms, if not told. */
const DEFAULT_TIMEOUT_MS = 3000;

/** What a probe saw: ready, or why not, in words. */
export type Probe = { readonly ready: true } | { readonly ready: false; readonly why: string };

/** Where a probe asks. `isEncrypted`: the listener there has the gateway's certificate. */
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

/** Where to ask and for how long, or an exit code after saying what is wrong. */
export function probeTarget(args: CommandLine, io: Io, defaultTimeoutMs = DEFAULT_TIMEOUT_MS): (ProbeTarget & { timeoutMs: number }) | number {
  const flag = args.flags.get('timeout');
  const timeout = typeof flag === 'string' ? parseDuration(flag) : null;
  if (timeout !== null && !timeout.ok) {
    io.stderr.write(`gcg: --timeout: ${timeout.message}\n`);
    return EXIT.usage;
  }
  // Where the gateway listens is all that is asked: the variables that make a credential may not be here.
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  if (!result.ok) {
    reportProblems(io, result.problems, []);
    return EXIT.badConfig;
  }
  const target = healthTarget(result.config);
  if (!target) {
    io.stderr.write('gcg: the gateway listens on an inherited descriptor only: set server.health_listen to have an address to ask\n');
    return EXIT.usage;
  }
  return { ...target, timeoutMs: timeout?.value ?? defaultTimeoutMs };
}

/** The health listener where there is one, else where calls go. */
function healthTarget({ server }: GatewayConfig): ProbeTarget | undefined {
  const plain = server.healthListen.find(({ kind }) => kind !== 'fd');
  const address = plain ?? [...server.adminListen, ...server.listen].find(({ kind }) => kind !== 'fd');
  return address && { address, isEncrypted: plain === undefined && address.kind === 'tcp' && server.tls !== null };
}

/** Asks /readyz once. Never rejects. */
export async function probeReadiness({ address, isEncrypted }: ProbeTarget, timeoutMs: number): Promise<Probe> {
  const { request } = isEncrypted ? await import('node:https') : http;
  // Nothing secret is asked or answered, and a certificate that ran out is no reason to call a gateway that serves not ready.
  const unverified = isEncrypted ? { rejectUnauthorized: false } : {};
  return new Promise((resolve) => {
    const fail = (why: string) => resolve({ ready: false, why });
    const asking = request(
      { ...connection(address), ...unverified, path: '/readyz', timeout: timeoutMs, headers: { host: 'localhost' } },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text = (text + chunk).slice(0, 64 * 1024);
        });
        response.on('end', () => (response.statusCode === 200 ? resolve({ ready: true }) : fail(describe(text, response.statusCode ?? 0))));
      },
    );
    asking.on('timeout', () => asking.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    asking.on('error', (error: NodeJS.ErrnoException) =>
      fail(error.code === 'ECONNREFUSED' || error.code === 'ENOENT' ? 'no gateway is running there' : error.message),
    );
    asking.end();
  });
}

function connection(address: ListenAddress): { socketPath: string } | { host: string; port: number } {
  if (address.kind === 'unix') return { socketPath: address.path };
  if (address.kind === 'fd') throw new Error('a descriptor has no address');
  // A wildcard is no address to call.
  const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host;
  return { host, port: address.port };
}

function describe(text: string, statusCode: number): string {
  try {
    const { status, credentials = [] } = JSON.parse(text) as {
      status: string;
      credentials?: { name: string; required: boolean; token: TokenState; renewal: string }[];
    };
    const missing = credentials.filter(({ required, token }) => required && !isUsable(token));
    return [status, ...missing.map(({ name, token, renewal }) => `${name} has token ${token}, renewal ${renewal}`)].join('; ');
  } catch {
    return `status ${statusCode}`;
  }
}

/** Longest wait, ms, if not told. */
const DEFAULT_WAIT_MS = 60_000;
/** One answer may take this long; a gateway that hangs is asked again. */
const LONGEST_PROBE_MS = 3_000;
const PAUSE_MS = 250;

/** 0 when ready, 1 when it was not in time, 78 bad configuration. Says once, on stderr, what it waits for. */
export async function wait(args: CommandLine, io: Io): Promise<number> {
  const target = probeTarget(args, io, DEFAULT_WAIT_MS);
  if (typeof target === 'number') return target;
  const deadline = performance.now() + target.timeoutMs;
  let told = '';
  for (;;) {
    const leftMs = deadline - performance.now();
    const probe = await probeReadiness(target, Math.max(1, Math.min(LONGEST_PROBE_MS, leftMs)));
    if (probe.ready) return EXIT.ok;
    if (deadline - performance.now() <= PAUSE_MS) {
      io.stderr.write(`not ready within ${target.timeoutMs / 1000} s: ${probe.why}\n`);
      return EXIT.failure;
    }
    if (probe.why !== told) io.stderr.write(`waiting: ${probe.why}\n`);
    told = probe.why;
    await sleep(PAUSE_MS);
  }
}
