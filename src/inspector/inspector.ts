// The inspector of one gateway: takes in each call that has ended. Who may see what is decided where it is asked for.

import { randomBytes } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { createIsoClock, type ExchangeDetail, exchangeLevel, exchangeLine, isFailed } from '../logging/format.ts';
import { type Log, SEVERITY } from '../logging/log.ts';
import { type LiveSecrets, maskJson, maskStrings } from '../logging/redact/live-secrets.ts';
import { isMask, withFingerprints } from '../logging/redact/mask.ts';
import { redactFields } from '../logging/redact/value.ts';
import { REDACTED } from '../redacted.ts';
import { CallRing } from './call-ring.ts';
import { Capture } from './capture.ts';
import { type CounterSources, Counters } from './counters.ts';
import { Feed } from './feed.ts';
import { Fingerprints } from './fingerprints.ts';
import { takesKeyOfStart } from './page-place.ts';
import type { PresentSources } from './present-state.ts';
import { type Reload, ReloadHistory } from './reload-history.ts';
import { RunningCalls, type RunningExchange } from './running.ts';
import { Senders } from './senders.ts';
import { type TokenChange, TokenLanes } from './token-lanes.ts';

/** What an inspector is made of. */
export interface InspectorDeps {
  /** Memory for calls, in MiB; a quarter more is for failures. */
  readonly memory: number;
  readonly clock: Clock;
  readonly version: string;
  readonly log: Pick<Log, 'info'>;
  /** Makes calls be traced, each one or of a flood some; returns what ends that. */
  readonly watch: (calls: 'each' | 'some') => () => void;
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
  /** Who made the calls that can be made again. */
  readonly senders = new Senders();
  readonly feed: Feed;
  readonly counters: Counters;
  readonly lanes: TokenLanes;
  readonly reloads = new ReloadHistory();
  readonly #clock: Clock;
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
  /**
   * Numbers of calls are µs since the start while clients see their own calls alone: counted one by one they would tell
   * how many others there are.
   */
  #areNumbersTimes = false;

  constructor({ memory, clock, version, log, watch, mask = (text) => text }: InspectorDeps) {
    const { instance } = this;
    const startedAt = clock.monotonic();
    const ring = new CallRing({
      bytes: memory * MIB,
      failureBytes: (memory * MIB) / 4,
      number: () => (this.#areNumbersTimes ? Math.floor((clock.monotonic() - startedAt) * 1000) : 0),
      shown: (json) => withFingerprints(this.fingerprints.kept, () => maskJson(json, mask)),
    });
    this.ring = ring;
    this.#clock = clock;
    this.counters = new Counters(clock);
    this.lanes = new TokenLanes(clock.now());
    this.#running = new RunningCalls(mask);
    this.feed = new Feed({
      instance,
      version,
      ring,
      clock,
      watch: () => watch('some'),
      capture: () => this.capture.state,
      running: (rights) => this.#running.list(rights, this.waiting()),
      limits: () => this.limits(),
    });
    this.#isoTime = createIsoClock(clock.now);
    this.capture = new Capture({ clock, log, watch: () => watch('each'), mask, fingerprint: this.fingerprints.kept });
    this.capture.onChange = () => this.feed.tellCapture();
    this.#detail = { requestHeaders: false, responseHeaders: false, bodies: false, mask };
  }

  /**
   * Keeps what the log of this configuration would write, and each failure. A capture ends with the right of whoever
   * began it; where none may be made any more, what was captured is forgotten, too.
   */
  configure(config: Pick<GatewayConfig, 'logging' | 'inspector' | 'clients' | 'server'>): void {
    this.#threshold = SEVERITY[config.logging.level];
    this.#areNumbersTimes = config.clients.some(({ inspect, isAdmin }) => inspect === 'own' && !isAdmin);
    const { what, by } = this.capture.state;
    if (config.inspector.capture === 'none') this.capture.abandon();
    else if (what !== null && !mayCapture(by, config)) this.capture.stop();
  }

  /** Takes a finished exchange in. `line` is what the log made of it; null where that is nothing of use here. */
  ended(record: ExchangeRecord, line: string | null): void {
    const hasFailed = isFailed(record);
    const kept = this.#lineOf(record, line, hasFailed);
    this.#running.delete(record);
    const seq = kept === null ? 0 : this.ring.add(kept, hasFailed);
    if (seq > 0 && record.sender !== null) this.senders.add(seq, record.sender, record.listener, hasFailed);
    if (seq > 0 && this.feed.isWatched)
      this.feed.ended({ seq, client: record.client, hasFailed, isTraced: record.trace !== null });
    if (record.trace !== null) this.capture.ended(record, kept);
  }

  /** Begins to note how things go over the day. `lastReload`: the last that was reported. */
  observe(sources: Omit<CounterSources, 'also'>, lastReload: () => Reload | null): void {
    const also = () => {
      const last = lastReload();
      if (last !== null) this.reloads.note(last);
    };
    this.counters.start({ ...sources, also });
  }

  /** Ends what is under way. */
  close(): void {
    this.counters.close();
    this.capture.close();
    this.feed.close('the gateway ends');
  }

  /** Notes a call that begins, while somebody watches. */
  begun(exchange: RunningExchange): void {
    if (this.feed.isWatched) this.#running.add(exchange);
    else if (this.#running.size > 0) this.#running.clear();
  }

  /** Notes that the state of a credential changed, and tells those who see all. */
  tokenChanged(change: TokenChange): void {
    this.lanes.note(change, this.#clock.now());
    this.tell('token', { ...change });
  }

  /** Notes that another configuration was taken into use, and tells those who see all. */
  reloaded(): void {
    const reload = { at: new Date(this.#clock.now()).toISOString(), applied: true };
    this.reloads.note(reload);
    this.tell('reload', reload);
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
    this.senders.clear();
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

/** Whether who began a capture might do so by another configuration; null is whoever runs the gateway. */
function mayCapture(by: string | null, config: Pick<GatewayConfig, 'clients' | 'server'>): boolean {
  return by === null ? takesKeyOfStart(config) : config.clients.some(({ name, isAdmin }) => name === by && isAdmin);
}

const LONGEST_CODE = 128;
const LONGEST_MESSAGE = 512;

/** What is left of a text is marked where it was cut, and neither a character nor a mask is halved. */
function shortened(text: string, longest: number): string {
  return text.length <= longest
    ? text
    : `${text.slice(0, longest - 1).replace(/[\ud800-\udbff]$|\[redacted[^\]]{0,11}$/, '')}…`;
}
