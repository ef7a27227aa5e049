// Logins of people: state and PKCE verifier of each login that was begun, the platform's URL for the browser, and the
// one redemption of its answer. Knows no HTTP.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { type ErrorCode, GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { authorizeUrl } from './authorize-url.ts';
import type { Credential } from './credentials.ts';
import { createCodeVerifier } from './grants.ts';
import { MemoryRecords, recordId, type SharedRecords } from './store/records.ts';
import { toTokenFailure } from './token-source.ts';

/** A login that takes longer is void. */
const LOGIN_MAX_AGE_MS = 10 * 60_000;

/** Most pending logins; one more removes the oldest. */
const MOST_LOGINS = 100;

/** What the login page, or the person who pasted its URL, sent back. `binding` is the value of the browser's cookie. */
export interface LoginCallback {
  readonly state: string;
  readonly binding: string | null;
  readonly code?: string | undefined;
  readonly error?: string | undefined;
  readonly errorDescription?: string | undefined;
  /** The fragment's fields, for the implicit grant. */
  readonly fragment?: Readonly<Record<string, string | undefined>> | undefined;
}

/** All logins of a gateway, of all its instances where they share a store. */
export interface Logins {
  /**
   * Begins a login, or returns the one that is under way for the same credential, browser and redirect URI. `binding`
   * ties it to a browser (`createBinding()`); null ties it to its state alone, for logins that pass no other user's
   * browser. Throws gateway.request.invalid for a grant without a login, gateway.credential.rejected for a
   * contradiction in its configuration, gateway.credential.unavailable where a shared store does not answer.
   */
  begin(
    credential: Credential,
    options: { redirectUri: string; binding: string | null },
  ): Promise<{ url: string; state: string; expiresAt: number }>;
  /**
   * Ends a login. A second load of the same callback, at whatever instance, gets the outcome of the first: the code is
   * redeemed once. Throws gateway.request.invalid for an unknown, foreign or outdated state, and the error of a login
   * that failed.
   */
  complete(callback: LoginCallback): Promise<{ credential: string }>;
  /** How the last finished login of a credential failed; null after a success or without any. */
  lastError(name: string): { message: string; at: number } | null;
  /** Epoch ms of the last login of a credential that worked; null before any. */
  completedAt(name: string): number | null;
}

/** A login as it is kept. The verifier is in it only until somebody redeems the code. */
interface KeptLogin {
  readonly credential: string;
  readonly redirectUri: string;
  /** SHA-256 of the browser's binding; null for a login without. */
  readonly binding: string | null;
  readonly state: string;
  readonly verifier: string | null;
  readonly url: string;
  /** Epoch ms. */
  readonly expiresAt: number;
  /** Somebody has begun to redeem the code; nobody else may. */
  readonly isTaken?: true;
  readonly outcome?: KeptOutcome;
}

interface KeptOutcome {
  /** Null where it worked. */
  readonly error: { readonly code: ErrorCode; readonly message: string } | null;
}

/** How the last login of a credential ended. */
interface LastLogin {
  readonly error: { readonly message: string; readonly at: number } | null;
  readonly completedAt: number | null;
}

const NEVER: LastLogin = { error: null, completedAt: null };

/** How often an outcome is looked for that another instance brings about, and for how long. */
const OUTCOME_POLL_MS = 250;
const OUTCOME_WAIT_MS = 30_000;

/** How often the last login of a credential is looked for at other instances, while somebody asks. */
const LOOK_EVERY_MS = 500;

/** A value for the browser's cookie: 256 random bits. */
export function createBinding(): string {
  return randomBytes(32).toString('base64url');
}

/** What logins work with. */
export interface LoginsDeps {
  readonly clock: Clock;
  readonly log: Log;
  /**
   * The credential of that name as it is when a login ends: the configuration may have been replaced while a person was
   * typing, and another instance may have begun it.
   */
  readonly current: (name: string) => Credential | undefined;
  /** Where logins are kept. Default: in this process. */
  readonly records?: SharedRecords;
}

/** Holds at most 100 logins, each for ten minutes. Nothing to close. */
export function createLogins(deps: LoginsDeps): Logins {
  return new KeptLogins(deps);
}

class KeptLogins implements Logins {
  readonly #deps: LoginsDeps;
  readonly #records: SharedRecords;
  /** Logins that this instance completes, as long as their outcome is not kept; null: another one was faster. */
  readonly #completing = new Map<string, Promise<{ credential: string } | null>>();
  readonly #last = new Map<string, LastLogin>();
  /** When the last login of a credential was looked for. */
  readonly #lookedMono = new Map<string, number>();

  constructor(deps: LoginsDeps) {
    this.#deps = deps;
    this.#records = deps.records ?? new MemoryRecords({ clock: deps.clock, max: MOST_LOGINS });
  }

  async begin(credential: Credential, { redirectUri, binding }: { redirectUri: string; binding: string | null }) {
    const { config } = credential;
    if (!credential.hasLogin) throw new GatewayError('gateway.request.invalid', withoutLogin(config));
    const way = recordId('way', config.name, redirectUri, binding ?? '');
    const underWay = await this.#reach(() => this.#records.get('way', way));
    const before = underWay && (await this.#find(underWay.text))?.login;
    if (before && isSameLogin(before, config, redirectUri)) return startOf(before);
    const state = randomBytes(32).toString('base64url');
    const verifier = config.grantType === 'pkce' ? createCodeVerifier() : null;
    const login: KeptLogin = {
      ...{ credential: config.name, redirectUri, state, verifier },
      binding: binding === null ? null : digestOf(binding),
      url: authorizeUrl(config, { redirectUri, state, verifier }),
      expiresAt: this.#deps.clock.now() + LOGIN_MAX_AGE_MS,
    };
    await this.#keep(login, null);
    await this.#reach(() => this.#records.put('way', way, state, { lifeMs: LOGIN_MAX_AGE_MS }));
    return startOf(login);
  }

  async complete(callback: LoginCallback): Promise<{ credential: string }> {
    const { clock } = this.#deps;
    const until = clock.monotonic() + OUTCOME_WAIT_MS;
    for (;;) {
      const found = await this.#find(callback.state);
      if (found === null || !isSameBinding(found.login.binding, callback.binding)) {
        throw new GatewayError(
          'gateway.request.invalid',
          'this login is unknown, older than 10 minutes, or was begun in another browser: start it again',
        );
      }
      const { login, version } = found;
      if (login.outcome !== undefined) return outcomeOf(login.credential, login.outcome);
      if (login.isTaken !== true || this.#completing.has(login.state)) {
        const outcome = await (this.#completing.get(login.state) ?? this.#complete(login, version, callback));
        if (outcome !== null) return outcome;
      } else if (clock.monotonic() >= until) {
        const message =
          'another instance has begun to complete this login, and does not say how it ended: start it again';
        throw new GatewayError('gateway.credential.timeout', message);
      } else await new Promise<void>((resolve) => clock.after(OUTCOME_POLL_MS, resolve));
    }
  }

  lastError(name: string): { message: string; at: number } | null {
    this.#look(name);
    return (this.#last.get(name) ?? NEVER).error;
  }

  completedAt(name: string): number | null {
    this.#look(name);
    return (this.#last.get(name) ?? NEVER).completedAt;
  }

  /** Redeems the code, unless somebody else has begun to: null then. Throws the error of a login that failed. */
  #complete(login: KeptLogin, version: string, callback: LoginCallback): Promise<{ credential: string } | null> {
    const { state } = login;
    const completing = this.#takeAndRedeem(login, version, callback);
    this.#completing.set(state, completing);
    const isOver = (outcome: { credential: string } | null) => outcome === null && this.#completing.delete(state);
    completing.then(isOver, () => undefined);
    return completing;
  }

  async #takeAndRedeem(login: KeptLogin, version: string, callback: LoginCallback) {
    const taken = { ...login, verifier: null, isTaken: true as const };
    try {
      if ((await this.#keep(taken, version)) === null) return null;
    } catch (error) {
      this.#completing.delete(login.state);
      throw error;
    }
    const outcome = await this.#redeem(login, callback);
    // Where it cannot be kept, this instance knows it as long as there is room.
    await this.#keep({ ...taken, outcome }).then(
      () => this.#completing.delete(login.state),
      () => {
        const [oldest] = this.#completing.keys();
        if (this.#completing.size > MOST_LOGINS && oldest !== undefined) this.#completing.delete(oldest);
      },
    );
    return outcomeOf(login.credential, outcome);
  }

  async #redeem({ credential: name, redirectUri, verifier }: KeptLogin, callback: LoginCallback): Promise<KeptOutcome> {
    const { clock, log, current } = this.#deps;
    try {
      const credential = current(name);
      if (credential === undefined)
        throw new GatewayError('gateway.credential.unknown', `the credential ${name} is not configured any more`);
      if (callback.error !== undefined) throw refusedByPage(callback);
      if (callback.fragment !== undefined) await credential.redeem({ kind: 'fragment', fields: callback.fragment });
      else if (callback.code) await credential.redeem({ kind: 'code', code: callback.code, redirectUri, verifier });
      else
        throw new GatewayError(
          'gateway.request.invalid',
          'the login page sent neither a code nor an error: start the login again',
        );
      log.info({ credential: name }, 'login completed');
      this.#noteLast(name, { error: null, completedAt: clock.now() });
      return { error: null };
    } catch (thrown) {
      const error = thrown instanceof GatewayError ? thrown : toTokenFailure(thrown).error;
      const { code, message } = error;
      log.warn({ credential: name, errorCode: code, error: message }, 'login failed');
      const { completedAt } = this.#last.get(name) ?? NEVER;
      this.#noteLast(name, { error: { message, at: clock.now() }, completedAt });
      return { error: { code, message } };
    }
  }

  #noteLast(name: string, last: LastLogin): void {
    this.#last.set(name, last);
    if (!this.#records.isShared) return;
    const kept = this.#records.put('done', recordId('done', name), JSON.stringify(last), { lifeMs: LAST_LOGIN_MS });
    kept.catch(() => undefined);
  }

  /** Looks, in the background, how the last login ended at another instance. */
  #look(name: string): void {
    if (!this.#records.isShared) return;
    const now = this.#deps.clock.monotonic();
    if (now - (this.#lookedMono.get(name) ?? Number.NEGATIVE_INFINITY) < LOOK_EVERY_MS) return;
    this.#lookedMono.set(name, now);
    this.#records.get('done', recordId('done', name)).then(
      (record) => {
        const last = record && (parsed(record.text) as LastLogin | null);
        if (last !== null) this.#last.set(name, last);
      },
      () => undefined,
    );
  }

  async #find(state: string): Promise<{ readonly login: KeptLogin; readonly version: string } | null> {
    const record = await this.#reach(() => this.#records.get('login', recordId('login', state)));
    const login = record && (parsed(record.text) as KeptLogin | null);
    return record === null || login === null || login.state !== state ? null : { login, version: record.version };
  }

  #keep(login: KeptLogin, expected?: string | null): Promise<string | null> {
    const options = { lifeMs: LOGIN_MAX_AGE_MS, expected };
    return this.#reach(() =>
      this.#records.put('login', recordId('login', login.state), JSON.stringify(login), options),
    );
  }

  /** Throws gateway.credential.unavailable where the store does not answer. */
  async #reach<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch {
      throw new GatewayError(
        'gateway.credential.unavailable',
        'the store that the instances of this gateway share does not answer: try again',
        { retryAfterMs: 1_000 },
      );
    }
  }
}

/** How the last login of a credential ended is known to all instances for so long. */
const LAST_LOGIN_MS = 30 * 24 * 60 * 60 * 1000;

/** Whether a login that was begun would be begun in the same way now. */
function isSameLogin(login: KeptLogin, config: CredentialConfig, redirectUri: string): boolean {
  const { state, verifier, isTaken } = login;
  return isTaken !== true && login.url === authorizeUrl(config, { redirectUri, state, verifier });
}

/** Throws the error of a login that failed. */
function outcomeOf(credential: string, { error }: KeptOutcome): { credential: string } {
  if (error === null) return { credential };
  throw new GatewayError(error.code, error.message);
}

/** What a record holds; null where that is nothing of ours. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Sealed by this gateway, and yet no record of it: as good as none.
    return null;
  }
}

/** Why a credential needs no login, and what to do instead. */
export function withoutLogin({ name, grantType }: Pick<CredentialConfig, 'name' | 'grantType'>): string {
  const instead =
    grantType === 'saml2_bearer'
      ? `give it an assertion by POST /-/credentials/${name}/assertion`
      : grantType === 'access_token'
        ? 'put another access_token into its configuration'
        : `the gateway gets its token by itself, and another one at POST /-/credentials/${name}/refresh`;
  return `credential ${name} (${grantType}) has no login and needs none: ${instead}`;
}

/** The part of a login that is told to whoever begins it: verifier and binding stay here. */
function startOf({ url, state, expiresAt }: KeptLogin) {
  return { url, state, expiresAt };
}

/** The login page's own error, cut and cleaned, because it comes through the browser's address bar. */
function refusedByPage({ error = '', errorDescription = '' }: LoginCallback): GatewayError {
  const clean = (text: string) =>
    text
      .replaceAll(/[^\x20-\x7e\u00a1-\u024f]+/g, ' ')
      .trim()
      .slice(0, 200);
  const words = [clean(error), clean(errorDescription)].filter((word) => word !== '').join(': ');
  return new GatewayError(
    'gateway.login.required',
    `the login was refused by the platform (${words || 'no reason given'})`,
  );
}

/** `expected` is the hash of the right one. */
function isSameBinding(expected: string | null, given: string | null): boolean {
  if (expected === null) return true;
  return given !== null && timingSafeEqual(Buffer.from(expected), Buffer.from(digestOf(given)));
}

function digestOf(binding: string): string {
  return createHash('sha256').update(binding).digest('hex');
}
