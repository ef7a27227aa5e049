// The two flows of a login: through the running gateway, which then holds the token at once, or standalone, by this
// process into the file store. Both begin and complete a login; receiving the redirect is the command's job.

import type { Credential } from '../auth/credentials/credentials.ts';
import { createLogins } from '../auth/credentials/login.ts';
import { systemClock } from '../clock.ts';
import type { CredentialConfig, GatewayConfig } from '../config/gateway-config.ts';
import { type ErrorCode, GatewayError } from '../errors.ts';
import { readCallback } from '../server/routes/login.ts';
import type { StatusDocument } from '../server/routes/status.ts';
import { askIdentity } from '../upstream/own-calls.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { AdminRequest, AdminResponse } from './admin-client.ts';
import { SILENT } from './standalone.ts';
import { askWhoseTheyAre, callAdvice, whoInWords } from './who-is-it.ts';

/** A login that has begun. */
export interface BegunLogin {
  readonly url: string;
  readonly state: string;
  readonly redirectUri: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

interface FlowBase {
  /** Begins a login that ends at `redirectUri`; null leaves the choice to the flow. */
  begin(redirectUri: string | null): Promise<BegunLogin>;
  /** Completes the login with the parameters of the redirect: the query or the fragment of the last address. */
  complete(fields: string): Promise<void>;
  /** Who has logged in, and how calls are made now, in words; null where that is not known. Never rejects. */
  outcome(): Promise<{ readonly who: string | null; readonly advice: string | null }>;
}

interface GatewayFlow extends FlowBase {
  /** Waits until the redirect has reached the gateway itself. */
  readonly awaitCallback: (begun: BegunLogin) => Promise<void>;
  readonly callback?: undefined;
}

interface StandaloneFlow extends FlowBase {
  readonly awaitCallback?: undefined;
  /** Where to wait for the redirect. `isAnyPortGood`: no URI is configured, so another port will do. */
  readonly callback: { readonly redirectUri: string; readonly isAnyPortGood: boolean };
}

/** One flow. All methods throw GatewayError. */
export type LoginFlow = GatewayFlow | StandaloneFlow;

const POLL_MS = 300;

/** Logs in through the running gateway. */
export function gatewayFlow(ask: AdminRequest, name: string, config: GatewayConfig): GatewayFlow {
  const readLoginStatus = async () => {
    const { credentials } = succeeded(await ask('GET', '/-/status')).body as StatusDocument;
    const login = credentials.find((one) => one.name === name)?.login;
    return {
      completedAt: login?.completedAt ?? null,
      failedAt: login?.lastError?.at ?? null,
      message: login?.lastError?.message ?? '',
    };
  };
  let before = { completedAt: null as string | null, failedAt: null as string | null };
  return {
    async begin(redirectUri) {
      before = await readLoginStatus();
      const body = redirectUri === null ? '' : new URLSearchParams({ redirect_uri: redirectUri }).toString();
      const begun = succeeded(await ask('POST', `/-/login/${encodeURIComponent(name)}`, body)).body as BegunLogin & {
        expiresAt: string;
      };
      // Another process chose this text, and a browser and a terminal act on it: only a web address is accepted.
      const url = URL.canParse(begun.url) ? new URL(begun.url) : null;
      if (url === null || !/^https?:$/.test(url.protocol))
        throw new GatewayError('gateway.upstream.invalid', 'the gateway answered no login address');
      return { ...begun, url: url.href, expiresAt: Date.parse(begun.expiresAt) };
    },
    async complete(fields) {
      succeeded(await ask('POST', '/-/callback', fields));
    },
    async outcome() {
      const [told] = (await askWhoseTheyAre(ask, (one) => one === name)) ?? [];
      return { who: whoInWords(told?.identity), advice: told === undefined ? null : callAdvice(config, told) };
    },
    async awaitCallback({ expiresAt }) {
      while (Date.now() < expiresAt) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        const now = await readLoginStatus();
        if (now.completedAt !== before.completedAt) return;
        if (now.failedAt !== null && now.failedAt !== before.failedAt)
          throw new GatewayError('gateway.login.required', now.message);
      }
      throw new GatewayError('gateway.login.required', 'nobody logged in within ten minutes: start the login again');
    },
  };
}

/** Logs in by this process. `fallbackRedirectUri` is used where the credential has none configured. */
export function standaloneFlow(
  credential: Credential,
  { send }: Upstream,
  fallbackRedirectUri: string,
): StandaloneFlow {
  const logins = createLogins({ clock: systemClock, log: SILENT, current: () => credential });
  const callback = {
    redirectUri: credential.config.redirectUri ?? fallbackRedirectUri,
    isAnyPortGood: credential.config.redirectUri === null,
  };
  return {
    callback,
    async begin(redirectUri) {
      const uri = redirectUri ?? callback.redirectUri;
      return { ...(await logins.begin(credential, { redirectUri: uri, binding: null })), redirectUri: uri };
    },
    async complete(fields) {
      await logins.complete(readCallback(fields, null));
    },
    async outcome() {
      const token = credential.source.current();
      const answer = token && (await askIdentity({ send, credential, token }).catch(() => null));
      return { who: whoInWords(answer?.identity), advice: null };
    },
  };
}

/** Whether a code of a login begun elsewhere can be redeemed: with PKCE only whoever began it has the verifier. */
export function canRedeemForeignCode({ grantType }: Pick<CredentialConfig, 'grantType'>): boolean {
  return grantType === 'authorization_code';
}

function succeeded(response: AdminResponse | null): AdminResponse {
  if (response === null) throw new GatewayError('gateway.credential.unavailable', 'the gateway has stopped answering');
  const { error } = response;
  if (error !== null) throw new GatewayError(error.code as ErrorCode, error.message, { statusCode: error.status });
  return response;
}
