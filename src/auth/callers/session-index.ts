// What the instances know together of all sessions: how many there are and whose, so that there are not too many, and
// so that all of one client can be found. No implementation.

/** How many sessions there may be, and how long one may be idle, ms. */
export interface SessionLimits {
  readonly max: number;
  readonly idleMs: number;
}

/** About 15 MB when full; a week lets a user come back after a weekend. */
export const SESSION_LIMITS: SessionLimits = { max: 10_000, idleMs: 7 * 24 * 60 * 60 * 1000 };

/** A session that has to end. `mark` is what the index knows its owner by, and means nothing elsewhere. */
export interface SurplusSession {
  readonly hash: string;
  readonly mark: string;
}

/** The index of sessions. Methods throw where the store does not answer; what they would have noted is noted later. */
export interface SessionIndex {
  /**
   * Notes that a session was used now. Answers those that have to end, where there are too many: the ones idle for
   * longest of the owner that has most. Each is answered, at whatever instance, until `removeSurplus` says that it has
   * ended. `owner` is an `ownerKey`.
   */
  note(hash: string, owner: string, limits: SessionLimits): Promise<readonly SurplusSession[]>;
  removeSurplus(session: SurplusSession): Promise<void>;
  remove(hash: string, owner: string): Promise<void>;
  /** The hashes of all sessions of a client. */
  of(client: string): Promise<readonly string[]>;
  /** Told when the store is back. */
  onGap(listener: () => void): void;
}
