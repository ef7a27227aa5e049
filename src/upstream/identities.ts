// Whose the tokens of the configured credentials are. Asked once a token, aside from the calls: never in the place of
// one, and what goes wrong is only said where somebody looks. A person's name is kept in memory and never logged.

import type { Credential } from '../auth/credentials/credentials.ts';
import type { Token } from '../auth/credentials/token-source.ts';
import type { Clock, Timer } from '../clock.ts';
import { isGatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import type { Send } from './call.ts';
import { askIdentity, type Identity, OwnCallError } from './own-calls.ts';

/** What is known of one credential. */
export interface KnownIdentity {
  /** Null while nothing is known. */
  readonly identity: Identity | null;
  /** Epoch ms when the platform said so; null while it has not. */
  readonly learntAt: number | null;
  /** Why it is not known, or not wholly; null where nothing is wrong, also while it is being asked. */
  readonly problem: string | null;
}

/** What the identities are learnt with. */
export interface IdentitiesDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** The credential of that name in the configuration in use. */
  readonly credential: (name: string) => Credential | undefined;
  /** Sends a call of ours, in the configuration in use. */
  readonly send: Send;
  /** Nothing is asked, and nothing known, unless it is set. */
  readonly isEnabled: boolean;
  /** Told of the organisation of each credential, by its id; null when that is not known any more. */
  readonly onOrganization?: (name: string, id: string | null) => void;
  /** As for `askIdentity`. */
  readonly mask?: ((text: string) => string) | undefined;
}

/** The pauses before a failed question is asked again: it is a courtesy, and not worth more. */
const RETRY_MS = [30_000, 300_000, 1_800_000];

/** Grants whose renewed token is still the same account's: what was known holds until the platform says otherwise. */
const STEADY_GRANTS: ReadonlySet<string> = new Set(['client_credentials', 'authorization_code', 'pkce']);

/** Before the first answer, and where nothing is asked. */
export const NOTHING_KNOWN: KnownIdentity = { identity: null, learntAt: null, problem: null };

interface Entry {
  source: Credential['source'];
  /** Of the token that was asked about last. */
  fingerprint: string;
  known: KnownIdentity;
  /** Resolves when the first answer is there, or has failed; null when no question is under way. */
  asking: Promise<void> | null;
  failures: number;
  retry: Timer | null;
}

/** The identities of all credentials. Closed by its maker. */
export class Identities {
  readonly #deps: IdentitiesDeps;
  readonly #entries = new Map<string, Entry>();
  #isClosed = false;

  constructor(deps: IdentitiesDeps) {
    this.#deps = deps;
  }

  /** Whether anything is ever asked. */
  get isEnabled(): boolean {
    return this.#deps.isEnabled;
  }

  /**
   * A token of the credential was taken into use: asks whose it is, unless that is known. `isRenewal` is false for one
   * that came from a login or another source. Returns at once, never throws.
   */
  noteToken(name: string, token: Token, isRenewal: boolean): void {
    const credential = this.#deps.isEnabled && !this.#isClosed ? this.#deps.credential(name) : undefined;
    if (credential?.source.current()?.fingerprint !== token.fingerprint) return;
    const { source, config } = credential;
    const entry = this.#entries.get(name);
    if (entry?.fingerprint === token.fingerprint) {
      entry.source = source;
      return;
    }
    entry?.retry?.cancel();
    const isSame = isRenewal && entry?.source === source && STEADY_GRANTS.has(config.grantType);
    const known = isSame ? entry.known : NOTHING_KNOWN;
    if (!isSame) this.#deps.onOrganization?.(name, null);
    const next: Entry = { source, fingerprint: token.fingerprint, known, asking: null, failures: 0, retry: null };
    this.#entries.set(name, next);
    this.#ask(name, next);
  }

  /** What is known of a credential's token now. Asks nothing. */
  of({ config: { name }, source }: Pick<Credential, 'config' | 'source'>): KnownIdentity {
    const entry = this.#entries.get(name);
    return entry?.source === source && source.state().fingerprint !== null ? entry.known : NOTHING_KNOWN;
  }

  /** As `of`, after a question that is under way was answered or `withinMs` have passed. */
  async settled(credential: Pick<Credential, 'config' | 'source'>, withinMs: number): Promise<KnownIdentity> {
    const asking = this.#entries.get(credential.config.name)?.asking ?? null;
    if (asking !== null) {
      await new Promise<void>((resolve) => {
        const timer = this.#deps.clock.after(withinMs, resolve);
        void asking.then(() => {
          timer.cancel();
          resolve();
        });
      });
    }
    return this.of(credential);
  }

  /** Forgets whoever has logged out, and credentials that are gone. */
  prune(): void {
    for (const [name, entry] of this.#entries) {
      const credential = this.#deps.credential(name);
      if (credential !== undefined && credential.source.state().fingerprint !== null) continue;
      entry.retry?.cancel();
      this.#entries.delete(name);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { retry } of this.#entries.values()) retry?.cancel();
  }

  #ask(name: string, entry: Entry): void {
    entry.asking = this.#learn(name, entry).finally(() => {
      entry.asking = null;
    });
  }

  async #learn(name: string, entry: Entry): Promise<void> {
    const { clock, log, send, mask, onOrganization } = this.#deps;
    // Calls that waited for the token go first.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const credential = this.#deps.credential(name);
    const token = credential?.source.current();
    // Another token has taken its place, about which is asked as well.
    if (credential?.source !== entry.source || token?.fingerprint !== entry.fingerprint) return;
    try {
      const { identity, problem } = await askIdentity({ send, credential, token, mask });
      entry.known = { identity, learntAt: clock.now(), problem };
      if (this.#entries.get(name) === entry) onOrganization?.(name, organizationId(identity));
      log.debug({ credential: name, organization: identity.organization?.name ?? null, problem }, 'identity learnt');
    } catch (error) {
      const problem = isGatewayError(error) ? error.message : 'the question failed unexpectedly';
      entry.known = { ...entry.known, problem };
      log.debug({ credential: name, problem }, 'identity not learnt');
      const isLasting = error instanceof OwnCallError && error.isLasting;
      const pauseMs = isLasting ? undefined : RETRY_MS[entry.failures];
      entry.failures += 1;
      if (pauseMs === undefined || this.#isClosed || this.#entries.get(name) !== entry) return;
      entry.retry = clock.after(pauseMs, () => this.#ask(name, entry));
    }
  }
}

/** An id as it may stand in names of limits; null for what looks like none. */
function organizationId({ organization }: Identity): string | null {
  return organization !== null && /^[\w-]{1,64}$/.test(organization.id) ? organization.id : null;
}
