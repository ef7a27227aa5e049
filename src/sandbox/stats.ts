// Counters that tests read: what reached the simulation and what it answered. Numbers only, no token and no body.

/** A copy of the counters at one moment. */
export interface SandboxStats {
  /** By grant (`client_credentials`, `authorization_code`, `pkce`, `saml2_bearer`, `refresh_token`, `implicit`, `unknown`), then by result (`ok`, an OAuth error, or `fault:NAME`). */
  tokenRequests: Record<string, Record<string, number>>;
  tokenRequestsTotal: number;
  tokensIssued: number;
  /** Tokens that would be accepted now. */
  validTokens: number;
  /** By status; `closed` counts calls whose connection was closed before an answer. */
  apiCalls: Record<string, number>;
  apiCallsTotal: number;
  /** Calls with no Bearer token at all. */
  unauthenticatedCalls: number;
  /** Calls with a token that had expired. */
  expiredTokenCalls: number;
  /** Calls with a token that is unknown here, or was revoked. */
  unknownTokenCalls: number;
  rateLimitedCalls: number;
  /** A rotated refresh token shown again outside the grace window: the family was revoked. */
  refreshReuse: number;
  /** A rotated refresh token shown again within the grace window: the same successor was given. */
  refreshGraceUses: number;
  inFlight: { token: number; api: number };
  /** The highest numbers of `inFlight` so far. */
  peak: { token: number; api: number };
  sockets: number;
}

/** What the rest of the simulation counts with. */
export interface StatsCounter {
  tokenRequest(grant: string, result: string): void;
  apiCall(status: string): void;
  add(name: 'unauthenticatedCalls' | 'expiredTokenCalls' | 'unknownTokenCalls' | 'rateLimitedCalls' | 'refreshReuse' | 'refreshGraceUses'): void;
  /** Marks a request as under way; call the result once when it ends. */
  enter(kind: 'token' | 'api'): () => void;
  snapshot(live: { tokensIssued: number; validTokens: number; sockets: number }): SandboxStats;
  reset(): void;
}

const ZERO = { unauthenticatedCalls: 0, expiredTokenCalls: 0, unknownTokenCalls: 0, rateLimitedCalls: 0, refreshReuse: 0, refreshGraceUses: 0 };

export function createStats(): StatsCounter {
  const counts = { ...ZERO };
  const inFlight = { token: 0, api: 0 };
  const peak = { token: 0, api: 0 };
  let tokenRequests: Record<string, Record<string, number>> = {};
  let apiCalls: Record<string, number> = {};
  const sum = (record: Record<string, number>) => Object.values(record).reduce((total, count) => total + count, 0);
  return {
    tokenRequest(grant, result) {
      const results = tokenRequests[grant] ?? {};
      tokenRequests[grant] = results;
      results[result] = (results[result] ?? 0) + 1;
    },
    apiCall(status) {
      apiCalls[status] = (apiCalls[status] ?? 0) + 1;
    },
    add(name) {
      counts[name]++;
    },
    enter(kind) {
      inFlight[kind]++;
      peak[kind] = Math.max(peak[kind], inFlight[kind]);
      let left = false;
      return () => {
        if (!left) inFlight[kind]--;
        left = true;
      };
    },
    snapshot: (live) => ({
      tokenRequests: structuredClone(tokenRequests),
      tokenRequestsTotal: Object.values(tokenRequests).reduce((total, results) => total + sum(results), 0),
      apiCalls: { ...apiCalls },
      apiCallsTotal: sum(apiCalls),
      ...counts,
      ...live,
      inFlight: { ...inFlight },
      peak: { ...peak },
    }),
    reset() {
      Object.assign(counts, ZERO);
      Object.assign(peak, inFlight);
      tokenRequests = {};
      apiCalls = {};
    },
  };
}
