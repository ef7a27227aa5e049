// The log: levels, formats and destinations as configured, behind one object that survives a reload. Records of
// exchanges take a short cut to the destination; all others go through pino. Everything is redacted before it becomes a
// line.

import type { Writable } from 'node:stream';
import pino from 'pino';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { createConsoleDestination, type Destination, FileDestination } from './destination.ts';
import type { ExchangeRecord } from './exchange-record.ts';
import {
  createIsoClock,
  type ExchangeDetail,
  exchangeLevel,
  exchangeLine,
  exchangeText,
  isFailed,
  localTime,
  recordText,
} from './format.ts';
import { type Log, type RecordLevel, SEVERITY } from './log.ts';
import { type LiveSecrets, maskStrings } from './redact/live-secrets.ts';
import { redactFields } from './redact/value.ts';

/** `[logging]`. */
export type LoggingConfig = GatewayConfig['logging'];

export interface LoggerDeps {
  /** Standard output or what stands for it; a descriptor or a stream. 1 when not given. Never closed by the logger. */
  readonly stdout?: number | Writable;
  /** A person watches: local time in `text`, and no gathering of lines. */
  readonly isTTY?: boolean;
  /** Whether that person sees colours; not when NO_COLOR or TERM=dumb says so. Default: as `isTTY`. */
  readonly hasColour?: boolean;
  /** Wall clock, epoch ms. */
  readonly now?: () => number;
  /** Exact values to mask in every record. */
  readonly liveSecrets?: LiveSecrets;
}

/** Whoever creates it closes it. No method throws or blocks, save `configure`. */
export interface Logger extends Log {
  trace(fields: Record<string, unknown>, msg: string): void;
  /**
   * Writes the record of an ended exchange, at the level of its outcome; one that failed at every level but `none`.
   * Reads the record before it returns and keeps nothing of it. Returns the line, where that is JSON and holds neither
   * headers nor bodies; else null.
   */
  exchange(record: ExchangeRecord): string | null;
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
  return new RecordLogger(config, deps);
}

class RecordLogger implements Logger {
  readonly #stdout: number | Writable;
  readonly #isTTY: boolean;
  readonly #hasColour: boolean;
  readonly #now: () => number;
  readonly #mask: LiveSecrets['mask'];
  readonly #isoTime: () => string;
  /** Writes records other than exchanges as JSON. */
  readonly #json: pino.Logger;
  #toConsole: Destination | null = null;
  #toFile: FileDestination | null = null;
  #filePath: string | null = null;
  #threshold = SEVERITY.none;
  #isText = false;
  #detail: ExchangeDetail;
  /** Records that destinations of earlier settings did not get. */
  #droppedBefore = 0;
  /** Destinations of earlier settings that are being closed. */
  readonly #retiring = new Set<Promise<void>>();

  constructor(config: LoggingConfig, deps: LoggerDeps) {
    const { stdout = 1, isTTY = false, hasColour = isTTY, now = Date.now, liveSecrets } = deps;
    this.#stdout = stdout;
    this.#isTTY = isTTY;
    this.#hasColour = hasColour;
    this.#now = now;
    this.#mask = liveSecrets?.mask ?? ((text) => text);
    this.#isoTime = createIsoClock(now);
    this.#detail = { requestHeaders: false, responseHeaders: false, bodies: true, mask: this.#mask };
    this.#json = createPino(this.#isoTime, (line) => this.#put(line));
    this.configure(config);
  }

  // Own functions, not methods: whoever takes a log may spread it, or take one of them alone.
  readonly error = (fields: Record<string, unknown>, msg: string): void => this.#write('error', fields, msg);
  readonly warn = (fields: Record<string, unknown>, msg: string): void => this.#write('warn', fields, msg);
  readonly info = (fields: Record<string, unknown>, msg: string): void => this.#write('info', fields, msg);
  readonly debug = (fields: Record<string, unknown>, msg: string): void => this.#write('debug', fields, msg);
  readonly trace = (fields: Record<string, unknown>, msg: string): void => this.#write('trace', fields, msg);

  exchange(record: ExchangeRecord): string | null {
    if (this.#threshold > SEVERITY.error) return null;
    const level = exchangeLevel(record);
    if (SEVERITY[level] < this.#threshold && !isFailed(record)) return null;
    if (this.#isText) {
      this.#putText((time, hasColour) => exchangeText(record, level, time, this.#detail, hasColour));
      return null;
    }
    const line = exchangeLine(record, level, this.#isoTime(), this.#detail);
    this.#put(line);
    // Response headers are shown at a level that shows the request's too.
    return this.#detail.requestHeaders || record.requestBody !== null || record.responseBody !== null ? null : line;
  }

  isLevelEnabled(level: RecordLevel): boolean {
    return SEVERITY[level] >= this.#threshold;
  }

  reopen(): void {
    const failure = this.#toFile?.reopen() ?? null;
    if (failure === null) this.#tellPrivacy();
    else {
      const fields = { file: this.#filePath, code: failure };
      this.warn(fields, 'log file cannot be reopened, the old one stays in use');
    }
  }

  configure({ level, format, toConsole, filePath }: LoggingConfig): void {
    const nextFile = level === 'none' ? null : filePath;
    const isNewFile = nextFile !== this.#filePath;
    if (isNewFile) {
      const opened = nextFile === null ? null : new FileDestination(nextFile);
      this.#retire(this.#toFile);
      this.#toFile = opened;
      this.#filePath = nextFile;
    }
    const wantsConsole = toConsole && level !== 'none';
    if (wantsConsole !== (this.#toConsole !== null)) {
      this.#retire(this.#toConsole);
      this.#toConsole = wantsConsole ? createConsoleDestination(this.#stdout, this.#isTTY) : null;
    }
    const threshold = this.#toConsole || this.#toFile ? SEVERITY[level] : SEVERITY.none;
    this.#threshold = threshold;
    this.#isText = format === 'text';
    this.#detail = {
      requestHeaders: threshold <= SEVERITY.debug,
      responseHeaders: threshold <= SEVERITY.trace,
      bodies: true,
      mask: this.#mask,
    };
    if (isNewFile) this.#tellPrivacy();
  }

  async flush(): Promise<void> {
    await Promise.all([this.#toConsole?.flush(), this.#toFile?.flush()]);
  }

  async close(): Promise<void> {
    this.#threshold = SEVERITY.none;
    this.#retire(this.#toConsole);
    this.#retire(this.#toFile);
    this.#toConsole = this.#toFile = null;
    await Promise.all(this.#retiring);
  }

  get dropped(): number {
    return this.#droppedBefore + (this.#toConsole?.dropped() ?? 0) + (this.#toFile?.dropped() ?? 0);
  }

  #write(level: RecordLevel, fields: Record<string, unknown>, msg: string): void {
    if (SEVERITY[level] < this.#threshold) return;
    const safe = maskStrings(redactFields(fields), this.#mask) as Record<string, unknown>;
    if (this.#isText) this.#putText((time, hasColour) => recordText(safe, msg, level, time, hasColour));
    else this.#json[level](safe, msg);
  }

  #put(line: string): void {
    this.#toConsole?.write(line);
    this.#toFile?.write(line);
  }

  #putText(render: (time: string, hasColour: boolean) => string): void {
    const plain = this.#toFile || (this.#toConsole && !this.#isTTY) ? render(this.#isoTime(), false) : '';
    this.#toConsole?.write(this.#isTTY ? render(localTime(this.#now()), this.#hasColour) : plain);
    this.#toFile?.write(plain);
  }

  #retire(old: Destination | null): void {
    if (old === null) return;
    const ending = old.close().then(() => {
      this.#droppedBefore += old.dropped();
      this.#retiring.delete(ending);
    });
    this.#retiring.add(ending);
  }

  #tellPrivacy(): void {
    const fields = { file: this.#filePath };
    if (this.#toFile?.privacy === 'restricted') this.info(fields, 'log file was open to other users, now it is 0600');
    else if (this.#toFile?.privacy === 'open')
      this.warn({ ...fields, advice: 'make it 0600 and yours' }, 'log file is open to other users');
  }
}

function createPino(isoTime: () => string, write: (line: string) => void): pino.Logger {
  return pino(
    {
      level: 'trace',
      base: null,
      timestamp: () => `,"time":"${isoTime()}"`,
      formatters: { level: (level) => ({ level }) },
      // Errors arrive as redacted plain objects.
      serializers: { err: (value: unknown) => value },
    },
    { write },
  );
}
