// The channel API's answers on their way back: connectUri is turned to this gateway, and the channel is remembered for who asked.
// Which calls these are is one comparison of strings; all others pass by.

import type { Access } from '../../auth/callers/access.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import type { BodySink, UpstreamResponse } from '../../upstream/call.ts';
import { headerValue } from '../../upstream/token.ts';
import { namedCredential } from '../choose-credential.ts';
import type { Exchange } from '../exchange.ts';
import type { ChannelRegister } from './channel-register.ts';
import { channelId, type DescribedChannel, replaceConnectUris, socketBase, upstreamSocketUrl } from './connect-uri.ts';

const CHANNELS = '/api/v2/notifications/channels';
/** An answer longer than this passes as it is. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Whether a call makes or lists channels. */
export function isChannelCall(method: string, target: string): boolean {
  if (!target.startsWith(CHANNELS)) return false;
  const next = target.charCodeAt(CHANNELS.length);
  return (Number.isNaN(next) || next === 63) /* ? */ && (method === 'POST' || method === 'GET');
}

/** Replaces Accept-Encoding in a flat list, so that the answer can be read. Its last pair, Authorization's place, stays the last. */
export function askForIdentity(headers: string[]): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if ((headers[i] as string).toLowerCase() === 'accept-encoding') headers.splice(i, 2);
  }
  headers.splice(headers.length - 2, 0, 'Accept-Encoding', 'identity');
}

/** What the rewriting needs of the configuration, and of what outlives it. */
export interface ChannelAnswersDeps {
  readonly register: ChannelRegister;
  readonly access: Pick<Access, 'defaultFor'>;
  readonly publicUrl: string | null;
}

/** Gives the answer to pass on in place of `answer`. Rejects as the answer's body does when it breaks off. */
export type ChannelAnswers = (exchange: Exchange, credential: CredentialConfig, answer: UpstreamResponse) => Promise<UpstreamResponse>;

export function createChannelAnswers({ register, access, publicUrl }: ChannelAnswersDeps): ChannelAnswers {
  return async (exchange, credential, answer) => {
    const encoding = headerValue(answer, 'content-encoding');
    if (answer.statusCode !== 200 || (encoding !== null && encoding !== 'identity')) return answer;
    const { bytes, complete } = await answer.peek(MAX_ANSWER_BYTES);
    if (!complete) return answer;

    const { request, identity: owner } = exchange;
    const base = socketBase(publicUrl, request.headers.host ?? 'localhost', (request.socket as { encrypted?: boolean }).encrypted === true);
    // A socket cannot send X-Gateway-Credential, nor show a handle: what they say must be in its path.
    const isDefault = owner.session !== null || access.defaultFor(owner) === credential.name;
    const name = namedCredential(exchange) ?? (isDefault ? null : credential.name);
    const ownUri = (channel: DescribedChannel): string | null => {
      const id = channelId(channel);
      const url = upstreamSocketUrl(channel.connectUri, credential.hosts);
      if (id === null || url === null) return null;
      const issued = register.issue(id, { owner, credential: credential.name, url }, channel.expires);
      const query = issued === null || issued.token === null ? '' : `?token=${issued.token}`;
      return `${base}${name === null ? '' : `/${name}`}/streaming/channels/${id}${query}`;
    };
    const body = replaceConnectUris(bytes, ownUri);
    return body === null ? answer : withBody(answer, body);
  };
}

/** An answer with another body, which is whole already; its length is corrected where it was told. */
function withBody(answer: UpstreamResponse, body: Buffer): UpstreamResponse {
  const rawHeaders = [...answer.rawHeaders];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as Buffer).toString('latin1').toLowerCase() === 'content-length') rawHeaders[i + 1] = Buffer.from(String(body.length));
  }
  return {
    statusCode: answer.statusCode,
    statusText: answer.statusText,
    rawHeaders,
    pipe(sink: BodySink) {
      sink.write(body);
      sink.end();
    },
    resume() {
      // There is nothing more to come.
    },
    peek: async (limitBytes) => ({ bytes: body.subarray(0, limitBytes), complete: body.length <= limitBytes }),
    abort: (error) => answer.abort(error),
    discard: () => answer.discard(),
  };
}
