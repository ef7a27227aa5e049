// The log: levels, formats and destinations as configured, behind one object that survives a reload. Records of
// exchanges take a short cut to the destination; all others go through pino. Everything is redacted before it becomes a
// line.

import type { Writable } from 'node:stream';
import pino from 'pino';
import type { GatewayConfig } from '../config/gateway-config.ts';
import {
  createConsoleDestination,
  createFileDestination,
  type Destination,
  type FileDestination,
} from './destination.ts';
import type { ExchangeRecord } from './exchange-record.ts';
import {
  createIsoClock,
  type ExchangeDetail,
  exchangeLevel,
  exchangeLine,
  exchangeText,
  localTime,
  recordText,
} from './format.ts';
import { type Log, type RecordLevel, SEVERITY } from './log.ts';
import { type LiveSecrets, maskStrings } from './redact/live-secrets.ts';
import { redactValue } from './redact/value.ts';

/** `[logging]`. */
export type LoggingConfig = GatewayConfig['logging'];

export interface LoggerDeps {
  /** Standard output or what stands for it; a descriptor or a stream. 1 when not given. Never closed by the logger. */
  readonly stdout?: number | Writable;
  /** A person watches: colours and local time in `text`, and no gathering of lines. */
  readonly isTTY?: boolean;
  /** Wall clock, epoch ms. */
  readonly now?: () => number;
  /** Exact values to mask in every record. */
  readonly liveSecrets?: LiveSecrets;
}

/** Whoever creates it closes it. No method throws or blocks, save `configure`. */
export interface Logger extends Log {
  trace(fields: Record<string, unknown>, msg: string): void;
  /**
   * Writes the record of an ended exchange: `info`, or `error` when it failed. Reads the record before it returns and
   * keeps nothing of it.
   */
  exchange(record: ExchangeRecord): void;
  /** Whether records of this level are written: ask before building something costly. */
  isLevelEnabled(level: RecordLevel): boolean;
  /** Opens the log file again (SIGHUP, SIGUSR2: after logrotate moved it). */
  reopen(): void;
  /**
   * Takes over other settings; lines taken before are still written to the old destinations. Throws when a new file
   * cannot be opened: then nothing has changed.
   */
  configure(config: LoggingConfig): void;
  flush(): Promise<void>;
  close(): Promise<void>;
  /** Records that could not be written (full disk, closed pipe, stalled reader), since the start. */
  readonly dropped: number;
}

/** Throws what opening the log file throws, when one is configured and cannot be opened. */
export function createLogger(config: LoggingConfig, deps: LoggerDeps = {}): Logger {
  const { isTTY = false, now = Date.now, liveSecrets } = deps;
  const mask = liveSecrets?.mask ?? ((text: string) => text);
  const isoTime = createIsoClock(now);
  let toConsole: Destination | null = null;
  let toFile: FileDestination | null = null;
  let filePath: string | null = null;
  let threshold = SEVERITY.none;
  let isText = false;
  let detail: ExchangeDetail = { requestHeaders: false, responseHeaders: false, mask };
  let droppedBefore = 0;
  const retiring = new Set<Promise<void>>();

  const retire = (old: Destination | null) => {
    if (old === null) return;
    const ending = old.close().then(() => {
      droppedBefore += old.dropped();
      retiring.delete(ending);
    });
    retiring.add(ending);
  };
  const put = (line: string) => {
    toConsole?.write(line);
    toFile?.write(line);
  };
  const json = pino(
    {
      level: 'trace',
      base: null,
      timestamp: () => `,"time":"${isoTime()}"`,
      formatters: { level: (level) => ({ level }) },
      // Errors arrive as redacted plain objects.
      serializers: { err: (value: unknown) => value },
    },
    { write: put },
  );

  const write = (level: RecordLevel, fields: Record<string, unknown>, msg: string) => {
    if (SEVERITY[level] < threshold) return;
    const safe = maskStrings(redactValue(fields), mask) as Record<string, unknown>;
    if (isText) putText((time, hasColour) => recordText(safe, msg, level, time, hasColour));
    else json[level](safe, msg);
  };
  const putText = (render: (time: string, hasColour: boolean) => string) => {
    const plain = toFile || (toConsole && !isTTY) ? render(isoTime(), false) : '';
    toConsole?.write(isTTY ? render(localTime(now()), true) : plain);
    toFile?.write(plain);
  };

  const tellPrivacy = () => {
    const fields = { file: filePath };
    if (toFile?.privacy === 'restricted') write('info', fields, 'log file was open to other users, now it is 0600');
    else if (toFile?.privacy === 'open')
      write('warn', { ...fields, advice: 'make it 0600 and yours' }, 'log file is open to other users');
  };
  const configure = (next: LoggingConfig) => {
    const nextFile = next.level === 'none' ? null : next.filePath;
    const isNewFile = nextFile !== filePath;
    if (isNewFile) {
      const opened = nextFile === null ? null : createFileDestination(nextFile);
      retire(toFile);
      toFile = opened;
      filePath = nextFile;
    }
    const wantsConsole = next.toConsole && next.level !== 'none';
    if (wantsConsole !== (toConsole !== null)) {
      retire(toConsole);
      toConsole = wantsConsole ? createConsoleDestination(deps.stdout ?? 1, isTTY) : null;
    }
    threshold = toConsole || toFile ? SEVERITY[next.level] : SEVERITY.none;
    isText = next.format === 'text';
    detail = { requestHeaders: threshold <= SEVERITY.debug, responseHeaders: threshold <= SEVERITY.trace, mask };
    if (isNewFile) tellPrivacy();
  };
  configure(config);

  return {
    error: (fields, msg) => write('error', fields, msg),
    warn: (fields, msg) => write('warn', fields, msg),
    info: (fields, msg) => write('info', fields, msg),
    debug: (fields, msg) => write('debug', fields, msg),
    trace: (fields, msg) => write('trace', fields, msg),
    exchange(record) {
      if (threshold > SEVERITY.error) return;
      const level = exchangeLevel(record);
      if (SEVERITY[level] < threshold) return;
      if (isText) putText((time, hasColour) => exchangeText(record, level, time, detail, hasColour));
      else put(exchangeLine(record, level, isoTime(), detail));
    },
    isLevelEnabled: (level) => SEVERITY[level] >= threshold,
    reopen() {
      const failure = toFile?.reopen() ?? null;
      if (failure !== null)
        write('warn', { file: filePath, code: failure }, 'log file cannot be reopened, the old one stays in use');
      else tellPrivacy();
    },
    configure,
    async flush() {
      await Promise.all([toConsole?.flush(), toFile?.flush()]);
    },
    async close() {
      threshold = SEVERITY.none;
      retire(toConsole);
      retire(toFile);
      toConsole = toFile = null;
      await Promise.all(retiring);
    },
    get dropped() {
      return droppedBefore + (toConsole?.dropped() ?? 0) + (toFile?.dropped() ?? 0);
    },
  };
}
