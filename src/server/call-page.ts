// Where the live page tells about a call: the address that answers of 400 and above carry, as their caller can open it.

import type { ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { isPageServed, PAGE_PATH } from '../inspector/page-place.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { ListenerRole } from './listener-plan.ts';

/** What of an exchange decides whether a page tells about it, and where that is. */
export interface TellingExchange {
  readonly response: ServerResponse;
  readonly record: Pick<ExchangeRecord, 'requestId' | 'isProbe' | 'isInspection' | 'errorCode'>;
  readonly role?: ListenerRole;
  readonly gateway?: {
    readonly inspector: object | null;
    readonly runtime: { readonly config: Pick<GatewayConfig, 'inspector' | 'server'> };
  };
}

/** As in a URL: anything else in it is not repeated. */
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?$/i;

/**
 * The name and value of the header, as part of a flat list; empty where there is no page at the listener, or none about
 * this call. It holds the request id and nothing else: what is shown there is decided there.
 */
export function callPageHeader(exchange: TellingExchange): readonly string[] {
  const { record, role, gateway } = exchange;
  if (role === undefined || !role.admin || gateway === undefined || gateway.inspector === null) return [];
  if (record.isProbe || record.isInspection || !isPageServed(gateway.runtime.config, role.isLocal)) return [];
  const base = gatewayBase(exchange, gateway.runtime.config.server.publicUrl);
  return base === null ? [] : ['X-Gateway-Explain-Url', `${base}${PAGE_PATH}#/calls/${record.requestId}`];
}

/** Where the caller reached us: by the public URL, by the Host that it used, or by the address of its connection. */
export function gatewayBase({ response, record, role }: TellingExchange, publicUrl: string | null): string | null {
  if (publicUrl !== null) return publicUrl.replace(/\/+$/, '');
  if (role?.peerName !== undefined) return null;
  const { headers, socket } = response.req;
  const scheme = (socket as Partial<TLSSocket>).encrypted === true ? 'https' : 'http';
  const { host } = headers;
  if (host !== undefined && HOST.test(host) && record.errorCode !== 'gateway.host.forbidden')
    return `${scheme}://${host}`;
  const { localAddress, localPort } = socket;
  if (localAddress === undefined || localPort === undefined) return null;
  return `${scheme}://${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}`;
}
