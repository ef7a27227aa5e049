// Which calls are audited, and what becomes of them while the trail cannot be written.

import type { AuditConfig } from '../config/sections/process.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { shownCorrelation, shownTarget } from '../logging/format.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { AuditedCall } from './audited-call.ts';

/** `[audit]`, as far as it is about calls. Without `methods`: all but GET, HEAD and OPTIONS. */
export type CallAuditRules = Pick<AuditConfig, 'methods' | 'onFailure'>;

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The audit of calls, by the rules of one configuration. */
export class CallAudit {
  readonly #trail: AuditTrail;
  readonly #rules: CallAuditRules;
  readonly #mask: LiveSecrets['mask'];

  constructor(trail: AuditTrail, rules: CallAuditRules, mask: LiveSecrets['mask']) {
    this.#trail = trail;
    this.#rules = rules;
    this.#mask = mask;
  }

  /** Whether calls of this method are audited. */
  covers(method: string): boolean {
    const { methods } = this.#rules;
    return methods.length === 0 ? !READING.has(method) : methods.includes(method);
  }

  /** Throws `gateway.audit.unavailable` for a call that must not be sent while the trail cannot be written. */
  assertWritable(method: string): void {
    if (this.#rules.onFailure === 'continue' || this.#trail.failure === null || !this.covers(method)) return;
    throw new GatewayError(
      'gateway.audit.unavailable',
      `the audit trail cannot be written (${this.#trail.failure}), and without it no changing call is sent: ` +
        'nothing was changed; mend its file or its disk (see the log), or set audit.on_failure = continue',
      { retryAfterMs: RETRY_AFTER_MS },
    );
  }

  /**
   * Writes the line of a call that was sent, once. Where the answer has to wait for the disk, a promise is returned: it
   * rejects with `gateway.audit.unavailable` where the line is not there and the answer must not go out.
   */
  write(record: ExchangeRecord, status: number, peer: string): Promise<void> | null {
    if (record.isAudited || record.attempts === 0 || !this.covers(record.method)) return null;
    record.isAudited = true;
    const written = this.#trail.append(this.#line(record, status, peer));
    return written === null || this.#rules.onFailure === 'continue' ? discard(written) : confirm(written, status);
  }

  /** Writes the line of a change of the gateway itself, which nobody waits for and nothing refuses. */
  writeAdmin(record: ExchangeRecord, peer: string): void {
    if (this.covers(record.method)) void this.#trail.append(this.#line(record, record.status, peer), 'admin');
  }

  #line(record: ExchangeRecord, status: number, peer: string): AuditedCall {
    return {
      client: record.client,
      ...(record.sessionUser !== null && { sessionUser: this.#mask(record.sessionUser) }),
      ...(record.replayOf !== null && { replayOf: record.replayOf, replayedBy: record.replayedBy }),
      credential: record.credential,
      operation: record.operation,
      method: record.method,
      path: shownTarget(record, this.#mask),
      status,
      requestId: record.requestId,
      correlationId: shownCorrelation(record, this.#mask),
      peer,
    };
  }
}

const RETRY_AFTER_MS = 5_000;

/** Waits as long as the disk takes, and not for what it says. */
function discard(written: Promise<boolean> | null): Promise<void> | null {
  return written === null ? null : written.then(() => undefined);
}

async function confirm(written: Promise<boolean>, status: number): Promise<void> {
  if (await written) return;
  throw new GatewayError(
    'gateway.audit.unavailable',
    `the call was sent${status === 0 ? '' : ` and answered with ${status}`}, but its line in the audit trail is not ` +
      'on the disk: look before you repeat it',
  );
}
