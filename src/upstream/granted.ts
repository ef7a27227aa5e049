// What the platform's roles grant to a token: asked at most once a minute, and only where somebody wants to know, aside
// from the calls. The platform needs no permission for the question.

import type { TokenSource } from '../auth/credentials/token-source.ts';
import type { Clock } from '../clock.ts';
import type { GrantedPolicy } from '../operations/least-permissions.ts';
import type { Send } from './call.ts';
import { askSubject, type OwnCallDeps } from './own-calls.ts';

const MOST_POLICIES = 10_000;
/** The platform knows some 1,500 permissions; a role may name each. */
const MOST_GRANTS = 50_000;

/** An answer that failed is sought again, and roles change while a token lives: often because of what was said here. */
const AGAIN_MS = 60_000;

interface Entry {
  /** Of the token that was asked with. */
  readonly fingerprint: string;
  /** By the monotonic clock. */
  readonly askedAt: number;
  policies: readonly GrantedPolicy[] | null;
  readonly asking: Promise<void>;
}

type Subject = OwnCallDeps['credential'] & Pick<OwnCallDeps, 'limitKey'>;

/** What is granted to the tokens of credentials and sessions; forgotten with them. */
export class GrantedPermissions {
  readonly #entries = new WeakMap<TokenSource, Entry>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What is known of the token in use; null while nothing is. Asks nothing. */
  of(source: TokenSource): readonly GrantedPolicy[] | null {
    const entry = this.#entries.get(source);
    return entry !== undefined && entry.fingerprint === source.current()?.fingerprint ? entry.policies : null;
  }

  /**
   * Asks, unless that was done with this token within a minute; resolves when there is an answer, or none. What was
   * known before holds until then. Never rejects.
   */
  ask(credential: Subject, send: Send): Promise<void> {
    const { source } = credential;
    const token = source.current();
    if (token === null) return Promise.resolve();
    const { fingerprint } = token;
    const before = this.#entries.get(source);
    const known = before?.fingerprint === fingerprint ? before : null;
    const now = this.#clock.monotonic();
    if (known !== null && now - known.askedAt < AGAIN_MS) return known.asking;
    const asking = askSubject({ send, credential, token, limitKey: credential.limitKey }).then(
      (body) => {
        entry.policies = policiesOf(body) ?? entry.policies;
      },
      () => undefined,
    );
    const entry: Entry = { fingerprint, askedAt: now, policies: known?.policies ?? null, asking };
    this.#entries.set(source, entry);
    return asking;
  }
}

/** The policies of all roles in `GET /authorization/subjects/me`; null where it has not that shape. */
export function policiesOf(body: Readonly<Record<string, unknown>>): GrantedPolicy[] | null {
  if (!Array.isArray(body.grants)) return null;
  const policies = body.grants.flatMap((grant: unknown): unknown[] => {
    const role = (grant as { role?: { policies?: unknown } } | null)?.role;
    return Array.isArray(role?.policies) ? role.policies : [];
  });
  let left = MOST_GRANTS;
  return policies.slice(0, MOST_POLICIES).flatMap((policy): GrantedPolicy[] => {
    const { domain, entityName, actions } = (policy ?? {}) as Record<string, unknown>;
    if (!isWord(domain) || !isWord(entityName) || !Array.isArray(actions)) return [];
    const names = [...new Set(actions.slice(0, left).filter((action) => isWord(action)))];
    left -= names.length;
    return [{ domain, entityName, actions: names }];
  });
}

function isWord(value: unknown): value is string {
  return typeof value === 'string' && /^[\w*-]{1,100}$/.test(value);
}
