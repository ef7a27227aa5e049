// The two ways a login can be done: by the running gateway, which then holds the token at once, or by this process into
// the file store. Both begin one and end one; who brings the answer from the login page is the command's business.

import type { Credential } from '../auth/credentials/credentials.ts';
import { createLogins } from '../auth/credentials/login.ts';
import { systemClock } from '../clock.ts';
import type { CredentialConfig } from '../config/gateway-config.ts';
import { type ErrorCode, GatewayError } from '../errors.ts';
import { readCallback } from '../server/routes/login.ts';
import type { StatusDocument } from '../server/routes/status.ts';
import type { AdminAnswer, AdminRequest } from './admin-client.ts';
import { SILENT } from './standalone.ts';

/** A login that has begun. */
export interface BegunLogin {
  readonly url: string;
  readonly state: string;
  readonly redirectUri: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

interface SomeWay {
  /** Where the platform is to send the browser; null: as the gateway thinks best. */
  begin(redirectUri: string | null): Promise<BegunLogin>;
  /** Ends the login with what the login page sent: the query or the fragment of the last address. */
  complete(fields: string): Promise<void>;
}

interface GatewayWay extends SomeWay {
  /** Waits until the gateway itself was brought the answer. */
  readonly landed: (begun: BegunLogin) => Promise<void>;
  readonly home?: undefined;
}

interface OwnWay extends SomeWay {
  readonly landed?: undefined;
  /** Where the answer is to be awaited; another port will do where none was registered. */
  readonly home: { readonly redirectUri: string; readonly isAnyPortGood: boolean };
}

/** One way. All methods throw GatewayError. */
export type LoginWay = GatewayWay | OwnWay;

const POLL_MS = 300;

/** Through the running gateway. */
export function createGatewayWay(ask: AdminRequest, name: string): GatewayWay {
  const loginOf = async () => {
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
      before = await loginOf();
      const body = redirectUri === null ? '' : new URLSearchParams({ redirect_uri: redirectUri }).toString();
      const begun = succeeded(await ask('POST', `/-/login/${encodeURIComponent(name)}`, body)).body as BegunLogin & {
        expiresAt: string;
      };
      // A browser and a terminal are led by what another process says: nothing but a web address may come of it.
      const url = URL.canParse(begun.url) ? new URL(begun.url) : null;
      if (url === null || !/^https?:$/.test(url.protocol))
        throw new GatewayError('gateway.upstream.invalid', 'the gateway answered no login address');
      return { ...begun, url: url.href, expiresAt: Date.parse(begun.expiresAt) };
    },
    async complete(fields) {
      succeeded(await ask('POST', '/-/callback', fields));
    },
    async landed({ expiresAt }) {
      while (Date.now() < expiresAt) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        const now = await loginOf();
        if (now.completedAt !== before.completedAt) return;
        if (now.failedAt !== null && now.failedAt !== before.failedAt)
          throw new GatewayError('gateway.login.required', now.message);
      }
      throw new GatewayError('gateway.login.required', 'nobody logged in within ten minutes: start the login again');
    },
  };
}

/** By this process. */
export function createOwnWay(credential: Credential, fallbackRedirectUri: string): OwnWay {
  const logins = createLogins({ clock: systemClock, log: SILENT });
  const home = {
    redirectUri: credential.config.redirectUri ?? fallbackRedirectUri,
    isAnyPortGood: credential.config.redirectUri === null,
  };
  return {
    home,
    async begin(redirectUri) {
      const uri = redirectUri ?? home.redirectUri;
      return { ...logins.begin(credential, { redirectUri: uri, binding: null }), redirectUri: uri };
    },
    async complete(fields) {
      await logins.complete(readCallback(fields, null));
    },
  };
}

/**
 * Whether a code that came by another way can be redeemed at all: one with a challenge needs the verifier of whoever
 * began it.
 */
export function canRedeemForeignCode({ grantType }: Pick<CredentialConfig, 'grantType'>): boolean {
  return grantType === 'authorization_code';
}

function succeeded(answer: AdminAnswer | null): AdminAnswer {
  if (answer === null) throw new GatewayError('gateway.credential.unavailable', 'the gateway has stopped answering');
  if (answer.error !== null)
    throw new GatewayError(answer.error.code as ErrorCode, answer.error.message, { statusCode: answer.error.status });
  return answer;
}
