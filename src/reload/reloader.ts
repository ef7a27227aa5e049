// Takes a changed configuration into use while calls run: loads it, says what changes, swaps it in or refuses it, and
// remembers the outcome. All in one synchronous step, so no call ever sees half of it. It watches the files itself; the
// signal and the route that also trigger it belong to others.

import { existsSync } from 'node:fs';
import type { Clock } from '../clock.ts';
import { ExposureError } from '../config/access-rules.ts';
import { configCandidates } from '../config/find-file.ts';
import { type GatewayConfig, secretSettings } from '../config/gateway-config.ts';
import { type LoadInput, type LoadResult, loadConfig } from '../config/load.ts';
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
  secretFingerprints,
} from './changes.ts';
import { FileWatcher } from './file-watcher.ts';

/** The message of a record that tells a warning of the configuration, at the start and after a reload. */
export const CONFIGURATION_WARNING = 'configuration warning';

/** What asked for a reload: a change of a file, SIGHUP, or POST /-/reload. */
export type ReloadTrigger = 'file' | 'signal' | 'request';

/** The outcome of one reload. Keys only, no values; problems are safe to show. */
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

/** What a reloader is given. */
export interface ReloaderDeps {
  /** Where the configuration is read from, as at the start of the process. */
  readonly input: LoadInput;
  /** The configuration that the process was started with. */
  readonly started: LoadedConfig;
  /** Takes a configuration into use, atomically; throws when it cannot, and has changed nothing then. */
  readonly replace: (config: GatewayConfig) => void;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, 'configReload'>;
  readonly clock: Clock;
  /** Called before and after each reload. */
  readonly onReload: (phase: 'begins' | 'ended') => void;
}

/** The configuration that a reload took into use, and what it changed; or why it was refused. */
type Outcome =
  | { readonly changed: readonly string[]; readonly restart: readonly string[] }
  | { readonly problems: readonly string[] };

/** The reloader of a process. Watches no file until `start`. Whoever creates it closes it. */
export class Reloader {
  readonly #deps: ReloaderDeps;
  /** The warnings of the last look at the files: they were told, and are not told again while they last. */
  #toldWarnings: ReadonlySet<string>;
  /** The configuration in use, as it was read. */
  #current: LoadedConfig;
  /** The fingerprints of its secrets when it was taken into use. */
  #fingerprints: ReadonlyMap<string, string>;
  #last: ReloadReport | null = null;
  /** Exists while the files are watched. */
  #watcher: FileWatcher | null = null;
  /** Whether `start` was called and `close` was not. */
  #isLive = false;
  /** Files that a refused configuration names: a change of one may make it valid. */
  #namedByRefused: readonly string[] = [];

  constructor(deps: ReloaderDeps) {
    this.#deps = deps;
    this.#current = deps.started;
    this.#toldWarnings = new Set(deps.started.warnings.map(formatProblem));
    this.#fingerprints = secretFingerprints(deps.started.config);
  }

  /** Never throws. Synchronous: when it returns, new calls are served by the new configuration. */
  reload(trigger: ReloadTrigger): ReloadReport {
    const { clock, metrics, onReload } = this.#deps;
    onReload('begins');
    const outcome = this.#attempt();
    const report: ReloadReport = {
      at: clock.now(),
      trigger,
      applied: 'changed' in outcome,
      changed: [],
      restart: [],
      problems: [],
      ...outcome,
    };
    this.#last = report;
    metrics.configReload(report.applied);
    this.#logReport(report);
    // Whoever asks for a reload may have changed what a command prints; a changed file says nothing of it.
    if (trigger !== 'file') this.#renewSecrets();
    this.#follow(this.#current.config);
    onReload('ended');
    return report;
  }

  /** Returns the reload section of the status document. */
  status(): Readonly<Record<string, unknown>> {
    const last = this.#last;
    return {
      reload: {
        watching: this.#watcher !== null,
        last: last && { ...last, at: new Date(last.at).toISOString() },
      },
    };
  }

  /** Watches the files, when the configuration says so. Takes up what changed while the process was starting. */
  start(): void {
    const { started } = this.#deps;
    this.#isLive = true;
    this.#follow(started.config);
    if (this.#watcher === null) return;
    const now = this.#load();
    if (!now.ok || changedKeys(started, now).length > 0) this.reload('file');
  }

  close(): void {
    this.#isLive = false;
    this.#watcher?.close();
    this.#watcher = null;
  }

  #load(): LoadResult {
    const result = loadConfig(this.#deps.input);
    this.#namedByRefused = result.ok ? [] : (result.referencedFiles ?? []);
    return result;
  }

  #attempt(): Outcome {
    const { started } = this.#deps;
    const result = this.#load();
    this.#tellWarnings(result.warnings.map(formatProblem));
    if (!result.ok) return { problems: this.#goneFile() ?? result.problems.map(formatProblem) };
    const config = keepForRestart(started.config, result.config);
    const { audit, logging } = config;
    if (audit.file !== null && audit.file === logging.filePath) {
      const message = `${audit.file} is the audit trail until a restart; name another file`;
      return { problems: [`logging.log_file_path: ${message}`] };
    }
    const failure = this.#apply(config);
    if (failure !== null) return { problems: [failure] };
    const fingerprints = secretFingerprints(config);
    const keys = changedKeys(this.#current, result);
    const changed = [...new Set([...keys, ...changedContents(this.#fingerprints, fingerprints)])];
    this.#fingerprints = fingerprints;
    this.#current = result;
    return { changed, restart: restartKeys(changedKeys(started, result)) };
  }

  #tellWarnings(warnings: readonly string[]): void {
    for (const warning of warnings)
      if (!this.#toldWarnings.has(warning)) this.#deps.log.warn({ warning }, CONFIGURATION_WARNING);
    this.#toldWarnings = new Set(warnings);
  }

  /** Says that the file in use was deleted, null where it is there: without it other things seem to be wrong. */
  #goneFile(): string[] | null {
    const [file] = this.#current.config.files;
    const isGone = file !== undefined && this.#deps.input.readFile === undefined && !existsSync(file);
    return isGone ? [`${file} is gone: put it back, or name another with --config and restart`] : null;
  }

  /** What is wrong, or null when it is in use. The log comes first: opening its file is what may fail. */
  #apply(config: GatewayConfig): string | null {
    const { log, replace } = this.#deps;
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
        log.configure(this.#current.config.logging);
      } catch {
        // The earlier file cannot be opened any more: the log goes on in the new one.
      }
      return error instanceof ExposureError ? error.message : `it cannot be taken into use: ${describe(error)}`;
    }
  }

  /** Asks for the secrets that commands print once more, in the background. What a failed one printed before stays. */
  #renewSecrets(): void {
    for (const [key, source] of secretSettings(this.#current.config))
      source.renew?.().catch((error: unknown) => {
        this.#deps.log.warn({ key, error: describe(error) }, 'secret could not be renewed, the last one stays in use');
      });
  }

  #logReport({ trigger, applied, changed, restart, problems }: ReloadReport): void {
    const { log } = this.#deps;
    if (!applied) {
      log.error({ trigger, problems }, 'configuration refused, the previous one stays in use');
      return;
    }
    log.info({ trigger, changed }, 'configuration reloaded');
    if (restart.length > 0) log.warn({ keys: restart }, 'changes that need a restart');
  }

  /** Watches what this configuration was read from, or nothing when it does not want that. */
  #follow({ general, files, referencedFiles }: GatewayConfig): void {
    if (!this.#isLive) return;
    if (!general.liveReloadConfig) {
      this.#watcher?.close();
      this.#watcher = null;
      return;
    }
    const { input, clock, log } = this.#deps;
    this.#watcher ??= new FileWatcher({ onChange: () => this.reload('file'), clock, log });
    this.#watcher.watch([...configCandidates(input), ...files, ...referencedFiles, ...this.#namedByRefused]);
  }
}

/** A message that is safe to show: of an error that is not ours only the class. */
function describe(error: unknown): string {
  if (isGatewayError(error)) return error.message;
  return error instanceof Error ? error.name : typeof error;
}
