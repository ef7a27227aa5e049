// The limits of the tokens of configured credentials, asked for before the first is met: once for each credential, then
// daily, aside from the calls. Where the platform does not tell them, they are learnt from its refusals.

import type { Credential } from '../auth/credentials/credentials.ts';
import type { Token } from '../auth/credentials/token-source.ts';
import type { Clock, Timer } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { type GrantType, USER_GRANTS } from '../config/sections/credential.ts';
import { isGatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import type { Send } from './call.ts';
import { askLimits, OwnCallError } from './own-calls.ts';
import { limitName, PLATFORM_NAMESPACE, perMinuteOf } from './rate-limit/limit-notice.ts';
import type { Limits } from './rate-limit/limits.ts';

/** What is in use now; a reload replaces it. */
export interface LimitsInUse {
  readonly config: Pick<GatewayConfig, 'rateLimit'>;
  readonly credentials: { get(name: string): Credential | undefined; list(): readonly Credential[] };
  readonly upstream: { readonly aside: Send; readonly parts: { readonly limits: Limits } };
}

/** Nothing is asked unless `isEnabled`. */
export interface AskedLimitsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly inUse: () => LimitsInUse;
  readonly isEnabled: boolean;
}

/** The pauses before a question that failed is asked again; then it can wait for the next day. */
const RETRY_MS = [30_000, 300_000, 1_800_000];
const DAY_MS = 86_400_000;

interface Question {
  source: Credential['source'];
  /** Of the token that was in use last. */
  fingerprint: string;
  failures: number;
  timer: Timer | null;
}

/** The questions for all credentials. Closed by its maker. */
export class AskedLimits {
  readonly #deps: AskedLimitsDeps;
  readonly #questions = new Map<string, Question>();
  #isClosed = false;

  constructor(deps: AskedLimitsDeps) {
    this.#deps = deps;
  }

  /**
   * A token of the credential was taken into use: asks, unless that was done for its account. `isRenewal` is false for
   * a token that came from a login or another source. Returns at once, never throws.
   */
  noteToken(name: string, token: Token, isRenewal: boolean): void {
    if (!this.#isWanted()) return;
    const source = this.#deps.inUse().credentials.get(name)?.source;
    if (source?.current()?.fingerprint !== token.fingerprint) return;
    const known = this.#questions.get(name);
    if (known !== undefined && (known.fingerprint === token.fingerprint || (isRenewal && known.source === source))) {
      known.source = source;
      known.fingerprint = token.fingerprint;
      return;
    }
    if (known !== undefined) {
      known.timer?.cancel();
      // Another account's, perhaps.
      this.#tell(name, new Map());
    }
    const question: Question = { source, fingerprint: token.fingerprint, failures: 0, timer: null };
    this.#questions.set(name, question);
    void this.#ask(name, question);
  }

  /** The configuration was replaced: asks where that is wanted now and was not before. */
  reconsider(): void {
    if (!this.#isWanted()) return;
    for (const { config, source } of this.#deps.inUse().credentials.list()) {
      const token = source.current();
      if (token) this.noteToken(config.name, token, true);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#questions.values()) timer?.cancel();
  }

  /** A number of the configuration's makes the question needless. */
  #isWanted(): boolean {
    if (!this.#deps.isEnabled || this.#isClosed) return false;
    const { mode, requestsPerMinute } = this.#deps.inUse().config.rateLimit;
    return mode !== 'off' && requestsPerMinute === 'auto';
  }

  async #ask(name: string, question: Question): Promise<void> {
    const { log, inUse } = this.#deps;
    // Calls that waited for the token go first.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.#questions.get(name) !== question) return;
    const { credentials, upstream } = inUse();
    const credential = credentials.get(name);
    const token = credential?.source.current();
    if (!this.#isWanted() || credential?.source !== question.source || !token) {
      // The next token is the next occasion.
      this.#questions.delete(name);
      return;
    }
    let pauseMs = DAY_MS;
    try {
      const answer = await askLimits({ send: upstream.aside, credential, token });
      if (this.#questions.get(name) !== question) return;
      const limits = limitsOf(credential.config.grantType, answer);
      this.#tell(name, limits);
      question.failures = 0;
      log.debug({ credential: name, limits: Object.fromEntries(limits) }, 'limits asked');
    } catch (error) {
      const isLasting = error instanceof OwnCallError && error.isLasting;
      pauseMs = (isLasting ? undefined : RETRY_MS[question.failures]) ?? DAY_MS;
      question.failures = pauseMs === DAY_MS ? 0 : question.failures + 1;
      const problem = isGatewayError(error) ? error.message : 'the question failed unexpectedly';
      log.debug({ credential: name, problem }, 'limits not told');
    }
    if (this.#isClosed || this.#questions.get(name) !== question) return;
    question.timer = this.#deps.clock.after(pauseMs, () => void this.#ask(name, question));
  }

  #tell(name: string, limits: ReadonlyMap<string, number>): void {
    this.#deps.inUse().upstream.parts.limits.ask(name, limits);
  }
}

/** Those of an answer that a grant's tokens run into, by the names that refusals give them. */
function limitsOf(grantType: GrantType, answer: Readonly<Record<string, unknown>>): Map<string, number> {
  const { entities } = answer;
  const told = new Map<string, number>();
  for (const entity of Array.isArray(entities) ? entities : []) {
    if (typeof entity !== 'object' || entity === null) continue;
    const { key, namespace = PLATFORM_NAMESPACE, value } = entity as Record<string, unknown>;
    if (typeof key !== 'string' || namespace !== PLATFORM_NAMESPACE) continue;
    const perMinute = perMinuteOf(key, value);
    if (perMinute !== null) told.set(key, perMinute);
  }
  const limits = new Map<string, number>();
  for (const key of keysOf(grantType, told)) {
    const perMinute = told.get(key);
    if (perMinute !== undefined) limits.set(limitName({ key, namespace: PLATFORM_NAMESPACE }) as string, perMinute);
  }
  return limits;
}

const OF_SERVICES = 'client.credentials.token.rate.per.minute';
const OF_TOKENS = 'token.rate.per.minute';
const OF_PEOPLE = 'org.app.user.rate.per.minute';

function keysOf(grantType: GrantType, told: ReadonlyMap<string, number>): readonly string[] {
  if (grantType === 'client_credentials' && told.has(OF_SERVICES)) return [OF_SERVICES];
  const hasUser = USER_GRANTS.has(grantType) || grantType === 'saml2_bearer';
  return hasUser ? [OF_TOKENS, OF_PEOPLE] : [OF_TOKENS];
}
