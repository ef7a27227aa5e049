// `gcg wait`: blocks until the running gateway is ready, for start scripts and for containers that must come second. As light as healthcheck.

import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandLine } from './args.ts';
import { probeReadiness, probeTarget } from './healthcheck.ts';
import { EXIT, type Io } from './io.ts';

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
