// Takes a changed configuration into use while calls run: loads it, says what changes, swaps it in or refuses it, and
// remembers how that went. One step without a pause in between, so nobody ever sees half of it. What triggers it
// (files, a signal, the route) is others' business.

import { ExposureError } from '../config/access-rules.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { LoadResult } from '../config/load.ts';
import { formatProblem } from '../config/problem.ts';
import { isGatewayError } from '../errors.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../logging/metrics/metrics.ts';
import {
  changedContents,
  changedKeys,
  keepForRestart,
  type LoadedConfig,
  restartKeys,
  secretPrints,
} from './changes.ts';

/** Who asked. */
export type ReloadTrigger = 'file' | 'signal' | 'request';

/** How one reload went. Keys only, no values; problems are fit to be shown. */
export interface ReloadReport {
  /** Epoch ms. */
  readonly at: number;
  readonly trigger: ReloadTrigger;
  readonly applied: boolean;
  readonly changed: readonly string[];
  /** Changed keys that count only after a restart. All that differ from the start, not from the last reload. */
  readonly restart: readonly string[];
  /** Why it was refused; empty when it was applied. */
  readonly problems: readonly string[];
}

/** What a reloader works on. */
export interface ReloaderDeps {
  /** The configuration that the process was started with. */
  readonly started: LoadedConfig;
  readonly load: () => LoadResult;
  /** Takes a configuration into use, atomically; throws when it cannot, and has changed nothing then. */
  readonly replace: (config: GatewayConfig) => void;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error' | 'configure'>;
  readonly metrics: Pick<Metrics, 'configReload'>;
  readonly now: () => number;
  /** Told of each reload, after it. */
  readonly onReload?: (report: ReloadReport, config: GatewayConfig) => void;
}

/** The reloader. */
export interface Reloader {
  /** Never throws. Synchronous: when it returns, new calls are served by the new configuration. */
  reload(trigger: ReloadTrigger): ReloadReport;
  /** The last one, null before any. */
  last(): ReloadReport | null;
}

/** Makes it; loads nothing yet. */
export function createReloader(deps: ReloaderDeps): Reloader {
  const { started, load, replace, log, metrics, now, onReload } = deps;
  let present = started;
  let prints = secretPrints(started.config);
  let last: ReloadReport | null = null;

  const attempt = (): { config: GatewayConfig; changed: string[]; restart: string[] } | { problems: string[] } => {
    const result = load();
    for (const warning of result.warnings) log.warn({ warning: formatProblem(warning) }, 'configuration warning');
    if (!result.ok) return { problems: result.problems.map(formatProblem) };
    const config = keepForRestart(started.config, result.config);
    const failure = apply(config);
    if (failure !== null) return { problems: [failure] };
    const printsNow = secretPrints(config);
    const changed = [...new Set([...changedKeys(present, result), ...changedContents(prints, printsNow)])];
    prints = printsNow;
    const restart = restartKeys(changedKeys(started, result));
    present = result;
    return { config, changed, restart };
  };

  /** What is wrong, or null when it is in use. The log comes first: opening its file is what may fail. */
  const apply = (config: GatewayConfig): string | null => {
    try {
      log.configure(config.logging);
    } catch (error) {
      return (
        `logging.log_file_path: ${config.logging.filePath} cannot be opened ` +
        `(${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`
      );
    }
    try {
      replace(config);
      return null;
    } catch (error) {
      try {
        log.configure(present.config.logging);
      } catch {
        // The file of before cannot be opened any more: the new one serves as well.
      }
      return error instanceof ExposureError ? error.message : `it cannot be taken into use: ${describe(error)}`;
    }
  };

  return {
    last: () => last,
    reload(trigger) {
      const outcome = attempt();
      const isApplied = 'config' in outcome;
      const { changed = [], restart = [], problems = [] } = outcome as Partial<ReloadReport>;
      last = { at: now(), trigger, applied: isApplied, changed, restart, problems };
      metrics.configReload(isApplied);
      if (!isApplied) log.error({ trigger, problems }, 'configuration refused, the previous one stays in use');
      else {
        log.info({ trigger, changed }, 'configuration reloaded');
        if (restart.length > 0) log.warn({ keys: restart }, 'changes that need a restart');
      }
      onReload?.(last, present.config);
      return last;
    },
  };
}

/** Our own words are fit to be shown; of anything else only the class is. */
function describe(error: unknown): string {
  if (isGatewayError(error)) return error.message;
  return error instanceof Error ? error.name : typeof error;
}
