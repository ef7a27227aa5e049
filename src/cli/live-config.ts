// Keeps a served configuration up to date: by its files, by SIGHUP and by POST /-/reload. What a reload does is the
// reloader's business; what is noticed, the file watcher's.

import { systemClock } from '../clock.ts';
import type { Overrides } from '../config/flags.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { configPlaces, loadConfig } from '../config/load.ts';
import type { Gateway } from '../gateway.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../logging/metrics/metrics.ts';
import { changedKeys, type LoadedConfig } from '../reload/changes.ts';
import { type ConfigWatch, createConfigWatch } from '../reload/file-watcher.ts';
import { createReloader, type ReloadReport, type ReloadTrigger } from '../reload/reloader.ts';
import { type Io, loadInput } from './io.ts';

/** What it is made of. */
export interface LiveConfigDeps {
  readonly io: Io;
  readonly overrides: Overrides;
  /** What the process was started with. */
  readonly started: LoadedConfig;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly gateway: () => Gateway;
  /** Told before and after each reload. */
  readonly onReload?: (phase: 'begins' | 'ended') => void;
}

/** The live configuration of a process. */
export interface LiveConfig {
  reload(trigger: ReloadTrigger): ReloadReport;
  /** For the status document. */
  status(): Readonly<Record<string, unknown>>;
  /** Watches the files, when the configuration says so. Takes up what changed while the process was starting. */
  start(): void;
  close(): void;
}

/** Watches nothing until `start`. */
export function createLiveConfig(deps: LiveConfigDeps): LiveConfig {
  const { io, overrides, started, log, metrics, gateway, onReload } = deps;
  const input = { ...loadInput(io, overrides), requireCredential: true };
  let watch: ConfigWatch | null = null;
  let isLive = false;
  let suspects: readonly string[] = [];

  const load = () => {
    const result = loadConfig(input);
    // What is missing now may be what the configuration waits for.
    suspects = result.ok ? [] : (result.referencedFiles ?? []);
    return result;
  };
  const reloader = createReloader({
    ...{ started, load, log, metrics, now: Date.now },
    replace: (config) => gateway().replace(config),
    onReload: (_report, config) => follow(config),
  });

  const follow = (config: GatewayConfig) => {
    if (!isLive) return;
    if (!config.general.liveReloadConfig) {
      watch?.close();
      watch = null;
      return;
    }
    watch ??= createConfigWatch({ onChange: () => reload('file'), clock: systemClock, log });
    watch.watch([...configPlaces(input), ...config.files, ...config.referencedFiles, ...suspects]);
  };

  const reload = (trigger: ReloadTrigger): ReloadReport => {
    onReload?.('begins');
    const report = reloader.reload(trigger);
    onReload?.('ended');
    return report;
  };

  return {
    reload,
    status() {
      const last = reloader.last();
      return {
        reload: {
          watching: watch !== null,
          last: last && { ...last, at: new Date(last.at).toISOString() },
        },
      };
    },
    start() {
      isLive = true;
      follow(started.config);
      if (watch === null) return;
      const now = load();
      if (!now.ok || changedKeys(started, now).length > 0) reload('file');
    },
    close() {
      isLive = false;
      watch?.close();
      watch = null;
    },
  };
}
