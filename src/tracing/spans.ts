// Whether spans are exported, in a running gateway: the tracer of the configuration in use, and what is told of it. All
// else of it is loaded when one is configured.

import { type Clock, withDeadline } from '../clock.ts';
import { isSameSetting } from '../config/gateway-config.ts';
import type { TracingConfig } from '../config/sections/tracing.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import type { CallTracer, SpanPost, TokenRequest } from './call-tracer.ts';
import { type DropReason, type ExportFailure, SpanCounts } from './span-counts.ts';

/** What spans are exported with. `random` is 0 (inclusive) to 1 (exclusive). */
export interface SpansDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly post: SpanPost;
  /** Masks the values of secrets in use. */
  readonly mask: LiveSecrets['mask'] | undefined;
}

/** What is told of the export, for status and metrics. Times in epoch ms. */
export interface SpansState {
  /** The collector's origin. */
  readonly origin: string;
  readonly sampleRatio: number;
  readonly waiting: number;
  readonly sent: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
  /** The last request that failed; null while none did. */
  readonly lastFailure: ExportFailure | null;
}

/** The export of one gateway, off until a configuration says where to. */
export class Spans {
  /** Asked once a call; null while there is no export. */
  tracer: CallTracer | null = null;
  readonly #deps: SpansDeps;
  readonly #counts = new SpanCounts();
  #config: TracingConfig | null = null;
  #load: Promise<typeof import('./tracer.ts')> | null = null;
  /** Exporters of earlier configurations that still send. */
  readonly #ending = new Set<Promise<void>>();
  #isClosed = false;

  constructor(deps: SpansDeps) {
    this.#deps = deps;
  }

  /**
   * Takes a configuration into use: at once, or when the code is loaded, which it resolves after. What the one before has
   * collected still goes to where that said. Calls that run keep their ids.
   */
  async use(config: TracingConfig): Promise<void> {
    if (this.#config !== null && isSameSetting(this.#config, config)) return;
    this.#config = config;
    const { otlpEndpoint } = config;
    if (otlpEndpoint === null) {
      this.#replace(null);
      return;
    }
    this.#load ??= import('./tracer.ts');
    const { Tracer } = await this.#load;
    if (this.#config !== config || this.#isClosed) return;
    const { clock, random, log, post, mask = (text: string) => text } = this.#deps;
    this.#replace(new Tracer(otlpEndpoint, config, { clock, random, log, post, mask, counts: this.#counts }));
  }

  /** A call has ended. Costs nothing where it has no spans. */
  ended(record: ExchangeRecord): void {
    if (record.trace !== null && record.trace.span !== null) this.tracer?.ended(record);
  }

  /** A token request has ended. */
  tokenRequest(request: TokenRequest): void {
    this.tracer?.tokenRequest(request);
  }

  /** Null while there is no export. */
  state(): SpansState | null {
    const { otlpEndpoint, sampleRatio = 0 } = this.#config ?? {};
    if (otlpEndpoint == null) return null;
    const { sent, drops, lastFailure } = this.#counts;
    const { origin } = new URL(otlpEndpoint);
    return { origin, sampleRatio, waiting: this.tracer?.waiting ?? 0, sent, dropped: drops, lastFailure };
  }

  /** Sends what is left within `withinMs`, that of earlier configurations too, and ends. */
  async close(withinMs: number): Promise<void> {
    this.#isClosed = true;
    this.#replace(null, withinMs);
    const late = () => new GatewayError('gateway.draining', 'spans are left');
    await withDeadline(this.#deps.clock, withinMs, late, Promise.all(this.#ending)).catch(() => undefined);
  }

  #replace(next: CallTracer | null, withinMs = this.#config?.timeoutMs ?? 0): void {
    const before = this.tracer;
    this.tracer = next;
    if (before === null) return;
    const ended = before.close(withinMs).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }
}
