// The inspector of one gateway: takes in each call that has ended. Who may see what is decided where it is asked for.

import { randomBytes } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { createIsoClock, type ExchangeDetail, exchangeLevel, exchangeLine, isFailed } from '../logging/format.ts';
import { type Log, SEVERITY } from '../logging/log.ts';
import { type LiveSecrets, maskStrings } from '../logging/redact/live-secrets.ts';
import { isMask, withFingerprints } from '../logging/redact/mask.ts';
import { redactFields } from '../logging/redact/value.ts';
import { REDACTED } from '../secret.ts';
import { CallRing } from './call-ring.ts';
import { Capture } from './capture.ts';
import { Feed } from './feed.ts';
import { Fingerprints } from './fingerprints.ts';
import type { PresentSources } from './present-state.ts';
import { RunningCalls, type RunningExchange } from './running.ts';

/** What an inspector is made of. */
export interface InspectorDeps {
  /** Memory for calls, in MiB; a quarter more is for failures. */
  readonly memory: number;
  readonly clock: Clock;
  readonly version: string;
  readonly log: Pick<Log, 'info'>;
  /** Makes calls be traced; returns what ends that. */
  readonly watch: () => () => void;
  readonly mask?: LiveSecrets['mask'] | undefined;
}

const MIB = 1024 * 1024;

/** Keeps what has ended, in bounded memory. Never throws and nothing waits for it. */
export class Inspector {
  /** Another one after each start: numbers of two instances are not comparable. */
  readonly instance = randomBytes(6).toString('base64url');
  readonly ring: CallRing;
  readonly fingerprints = new Fingerprints();
  readonly capture: Capture;
  readonly feed: Feed;
  /** The calls that wait for something, now. */
  waiting: () => Iterable<RunningExchange> = () => [];
  /** The limits in force, each by a key that stays the same. */
  limits: PresentSources['limits'] = () => [];
  readonly #running: RunningCalls;
  readonly #isoTime: () => string;
  /** Headers and bodies are never kept here. */
  readonly #detail: ExchangeDetail;
  /** Calls that went well are kept from this severity on, as the log has them. */
  #threshold = SEVERITY.info;

  constructor({ memory, clock, version, log, watch, mask = (text) => text }: InspectorDeps) {
    const { instance } = this;
    const ring = new CallRing({ bytes: memory * MIB, failureBytes: (memory * MIB) / 4 });
    this.ring = ring;
    this.#running = new RunningCalls(mask);
    this.feed = new Feed({
      instance,
      version,
      ring,
      clock,
      watch,
      capture: () => this.capture.state,
      running: (rights) => this.#running.list(rights, this.waiting()),
      limits: () => this.limits(),
    });
    this.#isoTime = createIsoClock(clock.now);
    this.capture = new Capture({ clock, log, watch, mask, fingerprint: this.fingerprints.kept });
    this.capture.onChange = () => this.feed.tellCapture();
    this.#detail = { requestHeaders: false, responseHeaders: false, bodies: false, mask };
  }

  /** Keeps what the log of this configuration would write, and each failure. */
  configure({ logging }: Pick<GatewayConfig, 'logging'>): void {
    this.#threshold = SEVERITY[logging.level];
  }

  /** Takes a finished exchange in. `line` is what the log made of it; null where that is nothing of use here. */
  ended(record: ExchangeRecord, line: string | null): void {
    const hasFailed = isFailed(record);
    const kept = this.#lineOf(record, line, hasFailed);
    this.#running.delete(record);
    const seq = kept === null ? 0 : this.ring.add(kept, hasFailed);
    if (seq > 0 && this.feed.isWatched) this.feed.ended({ seq, client: record.client, hasFailed });
    if (record.trace !== null) this.capture.ended(record, kept);
  }

  /** Ends what is under way. */
  close(): void {
    this.capture.close();
    this.feed.close('the gateway ends');
  }

  /** Notes a call that begins, while somebody watches. */
  begun(exchange: RunningExchange): void {
    if (this.feed.isWatched) this.#running.add(exchange);
    else if (this.#running.size > 0) this.#running.clear();
  }

  /** Tells those who see all that something happened. Fields are redacted here, as in the log. */
  tell(name: 'token' | 'reload', fields: Readonly<Record<string, unknown>>): void {
    if (!this.feed.isWatched) return;
    const safe = maskStrings(redactFields(fields), this.#detail.mask) as Record<string, unknown>;
    this.feed.tell(name, safe);
  }

  /** Forgets all calls, and what was captured of them. */
  clear(): void {
    this.ring.clear();
    this.capture.forget();
    this.feed.reset();
  }

  /** What is kept of a call; null where that is nothing. */
  #lineOf(record: ExchangeRecord, logged: string | null, hasFailed: boolean): string | null {
    if (record.isInspection) return null;
    if (record.isPoll && !hasFailed) return null;
    const level = exchangeLevel(record);
    const threshold = this.feed.isWatched ? Math.min(this.#threshold, SEVERITY.info) : this.#threshold;
    if (logged === null && !hasFailed && SEVERITY[level] < threshold) return null;
    // Where the log masked something, equal secrets can be told here.
    const plain =
      logged?.includes(REDACTED) === false
        ? logged
        : withFingerprints(this.fingerprints.kept, () => exchangeLine(record, level, this.#isoTime(), this.#detail));
    if (record.failureBody === null && record.trace === null) return plain;
    const words = record.failureBody && withFingerprints(this.fingerprints.kept, () => this.#wordsOf(record));
    const trace = record.trace === null ? '' : `,"trace":${record.trace.text()}`;
    return `${plain.slice(0, -'}\n'.length)}${words ?? ''}${trace}}\n`;
  }

  /** The platform's own words for a failure, as a field; empty where they cannot be read. */
  #wordsOf({ failureBody, source }: ExchangeRecord): string {
    const { mask } = this.#detail;
    const body = source === 'upstream' ? failureBody?.render() : null;
    if (typeof body !== 'object' || body === null) return '';
    const { code, message } = body as Readonly<Record<string, unknown>>;
    const words: { code?: string; message?: string } = {};
    if (typeof code === 'string' && !isMask(code)) words.code = shortened(mask(code), LONGEST_CODE);
    if (typeof message === 'string') words.message = shortened(mask(message), LONGEST_MESSAGE);
    return words.code === undefined && words.message === undefined ? '' : `,"platform":${JSON.stringify(words)}`;
  }
}

const LONGEST_CODE = 128;
const LONGEST_MESSAGE = 512;

/** What is left of a text is marked where it was cut, and neither a character nor a mask is halved. */
function shortened(text: string, longest: number): string {
  return text.length <= longest
    ? text
    : `${text.slice(0, longest - 1).replace(/[\ud800-\udbff]$|\[redacted[^\]]{0,11}$/, '')}…`;
}
