// `gcg doctor`: tests the connection to the region step by step and prints a redacted report.

import { Agent } from 'undici';
import type { Credentials } from '../../auth/credentials/credentials.ts';
import { systemClock } from '../../clock.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { loadConfig } from '../../config/load.ts';
import { GatewayError } from '../../errors.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { VERSION } from '../../version.ts';
import type { CommandLine } from '../args.ts';
import { type DoctorStep, type ExaminationDeps, examine } from '../examination.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';
import { withStandaloneCredentials } from '../standalone.ts';

/** What the command works with; the caller closes `egress`. */
export interface DoctorDeps extends ExaminationDeps {
  readonly version: string;
  /** What was found of a shared store; none without one. */
  readonly storeSteps?: readonly DoctorStep[];
}

/**
 * Examines the default region and every credential, each host once. Exit code 0 when nothing failed, 77 when a
 * credential is refused, 69 when the upstream, the proxy or the collector fails, 1 for the clock alone. The report goes to
 * stdout and is fit for a ticket.
 */
export async function doctor(
  args: Pick<CommandLine, 'flags'>,
  io: Pick<Io, 'stdout'>,
  deps: DoctorDeps,
): Promise<number> {
  const agent = new Agent({ connect: deps.egress.connect, allowH2: false });
  const steps: DoctorStep[] = [...(deps.storeSteps ?? [])];
  try {
    await examine(steps, agent, deps);
  } finally {
    await agent.destroy();
  }
  const exitCode = exitCodeOf(steps);
  const { version, clock } = deps;
  const head = {
    version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    time: new Date(clock.now()).toISOString(),
  };
  if (args.flags.has('json'))
    io.stdout.write(`${JSON.stringify({ ok: exitCode === EXIT.ok, exitCode, ...head, steps }, null, 2)}\n`);
  else io.stdout.write(asText(head, steps));
  return exitCode;
}

function exitCodeOf(steps: readonly DoctorStep[]): number {
  const failed = steps.filter(({ status }) => status === 'failed');
  if (failed.length === 0) return EXIT.ok;
  if (failed.some(({ code }) => code === 'gateway.credential.rejected' || code === 'gateway.login.required'))
    return EXIT.refused;
  return failed.some(({ code }) => code !== undefined && code !== 'gateway.internal') ? EXIT.unavailable : EXIT.failure;
}

function asText(head: Readonly<Record<string, string>>, steps: readonly DoctorStep[]): string {
  const width = Math.max(...steps.map(({ step }) => step.length));
  const lines = steps.map(
    ({ step, status, detail, code }) =>
      `${status.padEnd(8)}${step.padEnd(width + 2)}${detail}${code ? ` [${code}]` : ''}`,
  );
  const failed = steps.filter(({ status }) => status === 'failed').length;
  const hasWarning = steps.some(({ status }) => status === 'warning');
  const well = hasWarning ? 'No step failed; see to what is marked warning.' : 'All steps that were taken are well.';
  const sum = failed === 0 ? well : `${failed} of ${steps.length} steps failed; begin with the first.`;
  return (
    `gcg doctor ${head.version}, node ${head.node}, ${head.platform}, ` +
    `${head.time}\n\n${lines.join('\n')}\n\n${sum}\n`
  );
}

/** The exit code of the examination, or 78 when there is no configuration to examine with. */
export async function runDoctor(args: CommandLine, io: Io): Promise<number> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  reportProblems(io, result.ok ? [] : result.problems, result.warnings);
  if (!result.ok) return EXIT.badConfig;
  const { config } = result;
  const { steps: storeSteps, isUsable } = await storeExamination(config);
  const work = (credentials: Credentials, { egress, post }: Upstream) =>
    doctor(args, io, {
      config,
      egress,
      post,
      storeSteps,
      clock: systemClock,
      version: VERSION,
      obtainToken: ({ name }) => {
        const credential = credentials.get(name);
        if (!credential)
          throw new GatewayError('gateway.credential.unknown', `the credential ${name} is not configured`);
        return credential.source.token();
      },
    });
  // Without its store the rest can be examined still; what is logged in is not known then.
  const examined = isUsable ? config : { ...config, store: { ...config.store, type: 'memory' as const } };
  return withStandaloneCredentials(examined, io, work, { isTrial: true });
}

/** What is found of a shared store, and whether it can be used. */
async function storeExamination(config: GatewayConfig): Promise<{ steps: readonly DoctorStep[]; isUsable: boolean }> {
  const { store } = config;
  if (store.type !== 'redis') return { steps: [], isUsable: true };
  const { examineStore } = await import('../store-check.ts');
  const { findings, code } = await examineStore({ ...config, store }, systemClock);
  // Callers are told so while the store is away.
  const steps = findings.map((found) => ({
    ...found,
    ...(found.status === 'failed' && { code: 'gateway.credential.unavailable' }),
  }));
  return { steps, isUsable: code === EXIT.ok };
}
