// The channel API's responses on their way back: connectUri is turned to this gateway, and the channel is remembered
// for who asked.

import { withDeadline } from '../../clock.ts';
import type { CredentialConfig, UpstreamHosts } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import type { BodySink, UpstreamResponse } from '../../upstream/call.ts';
import { headerValue } from '../../upstream/platform-error.ts';
import { namedCredential } from '../authorize.ts';
import type { Exchange } from '../exchange.ts';
import { channelOwner } from './channels.ts';

const CHANNELS = '/api/v2/notifications/channels';
/** A response longer than this passes as it is. */
const MAX_RESPONSE_BYTES = 1024 * 1024;

/** Whether a call makes or lists channels. */
export function isChannelCall(method: string, target: string): boolean {
  if (!target.startsWith(CHANNELS)) return false;
  const next = target.charCodeAt(CHANNELS.length);
  return (Number.isNaN(next) || next === 63) /* ? */ && (method === 'POST' || method === 'GET');
}

/**
 * Replaces Accept-Encoding in a flat list, so that the response can be read. Its last pair, Authorization's place,
 * stays the last.
 */
export function requestUncompressed(headers: string[]): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if ((headers[i] as string).toLowerCase() === 'accept-encoding') headers.splice(i, 2);
  }
  headers.splice(headers.length - 2, 0, 'Accept-Encoding', 'identity');
}

/**
 * The response to pass on in place of one of the channel API. Rejects as its body does when that breaks off, and when
 * it takes too long.
 */
export async function rewriteChannels(
  exchange: Exchange,
  credential: CredentialConfig,
  response: UpstreamResponse,
): Promise<UpstreamResponse> {
  const encoding = headerValue(response, 'content-encoding');
  if (response.statusCode !== 200 || (encoding !== null && encoding !== 'identity')) return response;
  const { request, caller: owner, runtime } = exchange;
  const { totalWaitMs } = runtime.config.timeouts;
  const { bytes, complete } = await withDeadline(
    runtime.clock,
    totalWaitMs,
    () => late(totalWaitMs),
    response.peek(MAX_RESPONSE_BYTES),
  );
  if (!complete) return response;

  const base = socketBase(
    runtime.config.server.publicUrl,
    request.headers.host ?? 'localhost',
    (request.socket as { encrypted?: boolean }).encrypted === true,
  );
  // A socket cannot send X-Gateway-Credential, nor show a handle: what they say must be in its path.
  const isDefault = owner.session !== null || runtime.access.defaultFor(owner) === credential.name;
  const name = namedCredential(exchange) ?? (isDefault ? null : credential.name);
  const addresses = new Map<string, string>();
  for (const channel of describedChannels(bytes)) {
    const id = channelId(channel);
    const url = upstreamSocketUrl(channel.connectUri, credential.hosts);
    if (id === null || url === null) continue;
    const made = { owner: channelOwner(owner), credential: credential.name, url };
    const issued = await runtime.channels.issue(id, made, channel.expires);
    const query = issued === null || issued.token === null ? '' : `?token=${issued.token}`;
    addresses.set(channel.connectUri, `${base}${name === null ? '' : `/${name}`}/streaming/channels/${id}${query}`);
  }
  const body = replaceConnectUris(bytes, ({ connectUri }) => addresses.get(connectUri) ?? null);
  return body === null ? response : withBody(response, body);
}

function late(totalWaitMs: number): GatewayError {
  const limit = `${totalWaitMs / 1000} s (timeouts.total_wait)`;
  return new GatewayError(
    'gateway.upstream.timeout',
    `the upstream did not finish its answer within ${limit}: try again`,
  );
}

/** A response with another body, which is whole already; its length is corrected where it was told. */
function withBody(response: UpstreamResponse, body: Buffer): UpstreamResponse {
  const rawHeaders = [...response.rawHeaders];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as Buffer).toString('latin1').toLowerCase() === 'content-length')
      rawHeaders[i + 1] = Buffer.from(String(body.length));
  }
  return {
    statusCode: response.statusCode,
    statusText: response.statusText,
    rawHeaders,
    pipe(sink: BodySink) {
      sink.write(body);
      sink.end();
    },
    resume() {
      // There is nothing more to come.
    },
    peek: async (limitBytes) => ({ bytes: body.subarray(0, limitBytes), complete: body.length <= limitBytes }),
    abort: (error) => response.abort(error),
    discard: () => response.discard(),
  };
}

/** A channel as a response of the platform describes it. */
export interface DescribedChannel {
  readonly connectUri: string;
  readonly id: unknown;
  readonly expires: unknown;
}

/**
 * A copy of `body` with the `connectUri` of the channel, or of each of its `entities`, replaced by what `replace` gives
 * for it; null: nothing to replace, or not JSON.
 */
export function replaceConnectUris(body: Buffer, replace: (channel: DescribedChannel) => string | null): Buffer | null {
  const replacements = new Map<string, string>();
  for (const channel of describedChannels(body)) {
    const replacement = replace(channel);
    if (replacement !== null) replacements.set(channel.connectUri, replacement);
  }
  return replacements.size === 0 ? null : replaceStrings(body, replacements);
}

function describedChannels(body: Buffer): DescribedChannel[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    // Not JSON: then there is no channel in it.
    return [];
  }
  if (!isObject(parsed)) return [];
  const all = [parsed, ...(Array.isArray(parsed.entities) ? parsed.entities : [])];
  return all.filter((each) => isObject(each) && typeof each.connectUri === 'string') as unknown as DescribedChannel[];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/**
 * `body` is valid JSON: its strings are found by their quotes, and a string before a colon is a name. One octet a
 * character, so that all are kept.
 */
function replaceStrings(body: Buffer, replacements: ReadonlyMap<string, string>): Buffer {
  const text = body.toString('latin1');
  const toValue = /\s*:\s*(?=")/y;
  let out = '';
  let copied = 0;
  for (let at = text.indexOf('"'); at >= 0; ) {
    const end = stringEnd(text, at);
    let next = end;
    toValue.lastIndex = end;
    if (decode(text.slice(at, end)) === 'connectUri' && toValue.test(text)) {
      const from = toValue.lastIndex;
      next = stringEnd(text, from);
      const replacement = replacements.get(decode(text.slice(from, next)));
      if (replacement !== undefined) {
        out += text.slice(copied, from) + JSON.stringify(replacement);
        copied = next;
      }
    }
    at = text.indexOf('"', next);
  }
  return Buffer.from(out + text.slice(copied), 'latin1');
}

/**
 * Where the string ends that begins at `start`: behind the next quote without an odd number of backslashes before it.
 */
function stringEnd(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text[at - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return at + 1;
  }
  return text.length;
}

function decode(literal: string): string {
  return JSON.parse(Buffer.from(literal, 'latin1').toString('utf8'));
}

/**
 * Where the socket of a channel is: at the region's own streaming hosts, or at the `[gateway]` host where that is set,
 * whatever host the platform names. Null for what is no socket's address, or leads out of the region.
 */
export function upstreamSocketUrl(connectUri: string, { domain, streaming }: UpstreamHosts): URL | null {
  if (!URL.canParse(connectUri)) return null;
  const url = new URL(connectUri);
  if (!/^wss?:$/.test(url.protocol) || url.username !== '' || url.password !== '' || url.hash !== '') return null;
  if (url.origin === streaming.origin) return url;
  const isRegion = streaming.origin === `wss://streaming.${domain}`;
  if (isRegion) return url.protocol === 'wss:' && url.hostname.endsWith(`.${domain}`) ? url : null;
  const path = url.pathname.startsWith(`${streaming.pathPrefix}/`) ? url.pathname : streaming.pathPrefix + url.pathname;
  return new URL(streaming.origin + path + url.search);
}

/** What an id must be like to stand in a path of ours. */
const ID = /^[a-z0-9][\w.~-]{0,199}$/i;

/** The id by which a channel is known here; null when it has none that fits. */
export function channelId({ id, connectUri }: DescribedChannel): string | null {
  if (typeof id === 'string') return ID.test(id) ? id : null;
  const last = /\/([^/?#]+)\/?(?:[?#]|$)/.exec(connectUri)?.[1] ?? '';
  return ID.test(last) ? last : null;
}

/** The base of our own addresses, `wss://host[/path]`: `server.public_url`, or the host the caller used. */
export function socketBase(publicUrl: string | null, host: string, isEncrypted: boolean): string {
  if (publicUrl === null) return `${isEncrypted ? 'wss' : 'ws'}://${host}`;
  return publicUrl.replace(/^http/i, 'ws').replace(/\/+$/, '');
}
