// Whose the tokens of a running gateway's credentials are, for the commands that say so; and how its calls are made.

import type { GatewayConfig } from '../config/gateway-config.ts';
import { formatListenAddress } from '../config/listen-address.ts';
import { onOneLine } from '../config/problem.ts';
import type { CredentialStatus, StatusDocument } from '../server/routes/status.ts';
import { type Identity, identityWords } from '../upstream/own-calls.ts';
import { type AdminRequest, askStatus } from './admin-client.ts';

/** A credential as the status tells of it; of a gateway of another version the newer members are absent. */
export type ToldCredential = Pick<CredentialStatus, 'name'> & Partial<CredentialStatus>;

const POLL_MS = 200;
/** The gateway asks the platform as soon as it has a token; its answer takes no longer than a call. */
const LONGEST_WAIT_MS = 3_000;

/**
 * The credentials of the running gateway that `isWanted` picks, once it knows whose they are, or why it does not, and
 * after three seconds at the latest. Null where it does not answer.
 */
export async function askWhoseTheyAre(
  ask: AdminRequest,
  isWanted: (name: string) => boolean,
): Promise<readonly ToldCredential[] | null> {
  const endsAt = performance.now() + LONGEST_WAIT_MS;
  for (;;) {
    const response = await askStatus(ask);
    if (response === null || response.error !== null) return null;
    const { credentials } = (response.body ?? {}) as Partial<StatusDocument>;
    if (!Array.isArray(credentials)) return null;
    const wanted = (credentials as readonly ToldCredential[]).filter(({ name }) => isWanted(name));
    if (!wanted.some(isBeingAsked) || performance.now() >= endsAt) return wanted;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function isBeingAsked({ identity, identityProblem, fingerprint }: ToldCredential): boolean {
  return identity === null && identityProblem === null && typeof fingerprint === 'string';
}

/** Whose a token is, in words for a terminal; null where it is not known. */
export function whoInWords(identity: Identity | null | undefined): string | null {
  const words = identity ? identityWords(identity) : null;
  return words === null ? null : onOneLine(words);
}

/** Where calls with a credential go, `http://127.0.0.1:8080/crm/api/v2/…`, or what is missing for anybody to make one. */
export function callAdvice({ server }: GatewayConfig, { name, basePath, usableBy }: ToldCredential): string | null {
  if (basePath === undefined || usableBy === undefined) return null;
  if (!usableBy.anonymous && usableBy.clients.length === 0)
    return (
      `nobody may use it yet: add ${onOneLine(name)} to server.anonymous_credentials, or to the credential list of ` +
      'a [client.NAME]'
    );
  const who = usableBy.anonymous ? '' : ` as ${onOneLine(usableBy.clients.join(' or '))}`;
  return `call ${baseAddress(server)}${basePath}/api/v2/…${who}`;
}

function baseAddress({ publicUrl, listen, tls }: GatewayConfig['server']): string {
  if (publicUrl !== null) return publicUrl.replace(/\/+$/, '');
  const address = listen.find(({ kind }) => kind === 'tcp');
  if (address?.kind !== 'tcp') return '';
  const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host;
  return `${tls === null ? 'http' : 'https'}://${formatListenAddress({ ...address, host })}`;
}
