// The inspector of one gateway: takes in each call that has ended. Who may see what is decided where it is asked for.

import { randomBytes } from 'node:crypto';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { createIsoClock, type ExchangeDetail, exchangeLevel, exchangeLine, isFailed } from '../logging/format.ts';
import { SEVERITY } from '../logging/log.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import { REDACTED } from '../secret.ts';
import { CallRing } from './call-ring.ts';

/** What an inspector is made of. */
export interface InspectorDeps {
  /** Memory for calls, in MiB; a quarter more is for failures. */
  readonly memory: number;
  /** Epoch ms. */
  readonly now: () => number;
  readonly mask?: LiveSecrets['mask'] | undefined;
}

const MIB = 1024 * 1024;

/** Keeps what has ended, in bounded memory. Never throws and nothing waits for it. */
export class Inspector {
  /** Another one after each start: numbers of two instances are not comparable. */
  readonly instance = randomBytes(6).toString('base64url');
  readonly ring: CallRing;
  readonly #isoTime: () => string;
  /** Headers and bodies are never kept here. */
  readonly #detail: ExchangeDetail;
  /** Calls that went well are kept from this severity on, as the log has them. */
  #threshold = SEVERITY.info;

  constructor({ memory, now, mask = (text) => text }: InspectorDeps) {
    this.ring = new CallRing({ bytes: memory * MIB, failureBytes: (memory * MIB) / 4 });
    this.#isoTime = createIsoClock(now);
    this.#detail = { requestHeaders: false, responseHeaders: false, bodies: false, mask };
  }

  /** Keeps what the log of this configuration would write, and each failure. */
  configure({ logging }: Pick<GatewayConfig, 'logging'>): void {
    this.#threshold = SEVERITY[logging.level];
  }

  /** Takes a finished exchange in. `line` is what the log made of it; null where that is nothing of use here. */
  ended(record: ExchangeRecord, line: string | null): void {
    if (record.isInspection) return;
    const hasFailed = isFailed(record);
    if (record.isPoll && !hasFailed) return;
    const level = exchangeLevel(record);
    if (line === null && !hasFailed && SEVERITY[level] < this.#threshold) return;
    const plain = line ?? exchangeLine(record, level, this.#isoTime(), this.#detail);
    this.ring.add(record.failureBody === null ? plain : withWords(plain, record, this.#detail.mask), hasFailed);
  }
}

const LONGEST_CODE = 128;
const LONGEST_MESSAGE = 512;

/** The line with the platform's own words for the failure; as it is where they cannot be read. */
function withWords(line: string, { failureBody, source }: ExchangeRecord, mask: LiveSecrets['mask']): string {
  const body = source === 'upstream' ? failureBody?.render() : null;
  if (typeof body !== 'object' || body === null) return line;
  const { code, message } = body as Readonly<Record<string, unknown>>;
  const words: { code?: string; message?: string } = {};
  if (typeof code === 'string' && code !== REDACTED) words.code = shortened(mask(code), LONGEST_CODE);
  if (typeof message === 'string') words.message = shortened(mask(message), LONGEST_MESSAGE);
  if (words.code === undefined && words.message === undefined) return line;
  return `${line.slice(0, line.lastIndexOf('}'))},"platform":${JSON.stringify(words)}}\n`;
}

/** What is left of a text is marked where it was cut, and no character is halved. */
function shortened(text: string, longest: number): string {
  return text.length <= longest ? text : `${text.slice(0, longest - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
