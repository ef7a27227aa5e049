// What the tests of sessions share: owner, a platform, a table.

import type { Test } from 'tap';
import { placeholderCredential } from '../../../src/auth/callers/session.ts';
import type { SessionLimits } from '../../../src/auth/callers/session-index.ts';
import { Sessions, type SessionsDeps } from '../../../src/auth/callers/sessions.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import type { TokenStore } from '../../../src/auth/credentials/store/store.ts';
import type { TokenCall, TokenGrant } from '../../../src/auth/credentials/token-endpoint.ts';
import { createToken, type TokenFailure } from '../../../src/auth/credentials/token-source.ts';
import { Secret } from '../../../src/secret.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog, hostsAt } from '../../helpers/gateway.ts';

export const OWNER = {
  client: 'crm',
  authFingerprint: 'the mark of a secret',
  credential: null,
  clientId: 'app',
  secret: new Secret('app-secret'),
};
export const HOUR = 60 * 60 * 1000;
export const ISSUER = 'http://login.invalid';

/** A table of sessions over a platform that rotates at each refresh; it ends with the test. */
export function setUpSessions(
  t: Test,
  options: {
    clock?: FakeClock;
    store?: TokenStore;
    limits?: SessionLimits;
    lifeMs?: number;
    askUser?: SessionsDeps['askUser'];
    index?: SessionsDeps['index'];
  } = {},
) {
  const clock = options.clock ?? createFakeClock();
  const store = options.store ?? createMemoryStore({ clock });
  const calls: TokenCall[] = [];
  let count = 0;
  let refuse: TokenFailure | null = null;
  let settings = { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 };
  const grant = (): TokenGrant => {
    count += 1;
    const obtainedAt = clock.now();
    const token = createToken({
      accessToken: new Secret(`token-${count}`),
      obtainedAt,
      expiresAt: obtainedAt + (options.lifeMs ?? HOUR),
    });
    return { token, refreshToken: new Secret(`refresh-${count}`) };
  };
  const sessions = new Sessions({
    ...{ clock, store, random: () => 0, log: createTestLog() },
    ...(options.limits && { limits: options.limits }),
    ...(options.askUser && { askUser: options.askUser }),
    ...(options.index && { index: options.index }),
    endpoint: () => async (call) => {
      calls.push(call);
      if (refuse) throw refuse;
      return grant();
    },
    settings: () => settings,
    credential: () => placeholderCredential(hostsAt(ISSUER)),
  });
  t.teardown(() => sessions.close());
  return {
    ...{ clock, store, sessions, calls, grant },
    reconfigure(next: typeof settings) {
      settings = next;
    },
    refuse(failure: TokenFailure | null) {
      refuse = failure;
    },
  };
}
