// The metrics of credentials and their tokens, looked up at each scrape.

import { type Family, type Sample, sampled } from './metric-family.ts';

/** The state of one configured credential. Times in epoch ms. */
export interface CredentialSample {
  readonly name: string;
  readonly isRequired: boolean;
  /** Of the token that calls go up with. */
  readonly token: string;
  /** Of its first token, or the only one, like `expiresAt`. */
  readonly renewal: string;
  readonly expiresAt: number | null;
  /** Null where it may have one token only. */
  readonly pool: {
    readonly max: number;
    /** In the order of their numbers, from 1 on; `used` is the calls of the last minute. */
    readonly tokens: readonly { readonly number: number; readonly token: string; readonly used: number }[];
  } | null;
}

const TOKEN_STATES = ['none', 'fresh', 'due', 'suspect', 'expired'];
const RENEWAL_STATES = ['idle', 'running', 'backoff', 'rejected', 'login_required'];

/** The families. Labels are names of credentials, states, and numbers of tokens, of which there are 20 at most. */
export function tokenFamilies(credentials: () => Iterable<CredentialSample>, now: () => number): readonly Family[] {
  const all = () => [...credentials()];
  const pools = () => all().flatMap(({ name, pool }) => (pool === null ? [] : [{ credential: name, ...pool }]));
  return [
    sampled(
      'gauge',
      'gcg_token_seconds_left',
      "Life left of a credential's token, the first of several; 0 when expired, absent when unknown.",
      () =>
        all().flatMap(({ name, expiresAt }) =>
          expiresAt === null ? [] : [{ labels: { credential: name }, value: Math.max(0, (expiresAt - now()) / 1000) }],
        ),
    ),
    sampled('gauge', 'gcg_token_state', "1 for the state a credential's token is in.", () =>
      statesOf(all(), TOKEN_STATES, ({ token }) => token),
    ),
    sampled('gauge', 'gcg_renewal_state', "1 for the state a credential's renewal is in.", () =>
      statesOf(all(), RENEWAL_STATES, ({ renewal }) => renewal),
    ),
    sampled('gauge', 'gcg_token_pool_max', 'The tokens that a credential with several may have.', () =>
      pools().map(({ credential, max }) => ({ labels: { credential }, value: max })),
    ),
    sampled('gauge', 'gcg_token_pool_tokens', 'The tokens that a credential with several has, by their state.', () =>
      pools().flatMap(({ credential, tokens }) =>
        TOKEN_STATES.map((state) => ({
          labels: { credential, state },
          value: tokens.filter(({ token }) => token === state).length,
        })),
      ),
    ),
    sampled('gauge', 'gcg_token_pool_calls', 'Calls of the last minute, by the number of the token.', () =>
      pools().flatMap(({ credential, tokens }) =>
        tokens.map(({ number, used }) => ({ labels: { credential, number: String(number) }, value: used })),
      ),
    ),
  ];
}

function statesOf(
  credentials: readonly CredentialSample[],
  names: readonly string[],
  stateOf: (credential: CredentialSample) => string,
): Sample[] {
  return credentials.flatMap((credential) =>
    names.map((name) => ({
      labels: { credential: credential.name, required: String(credential.isRequired), state: name },
      value: stateOf(credential) === name ? 1 : 0,
    })),
  );
}
