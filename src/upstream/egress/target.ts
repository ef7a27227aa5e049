// What is dialled: one host and port, with or without TLS. How it is reached is route.ts.

import { stripBrackets } from '../../config/listen-address.ts';

/** `host` is a name or an IP address without brackets; `servername` replaces it in SNI and in the certificate check. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly servername?: string | undefined;
}

/** `host:port` as URLs and CONNECT write it, with brackets round an IPv6 address. */
export function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The target of an http, https, ws or wss URL. */
export function targetOf(url: URL): Target {
  const secure = url.protocol === 'https:' || url.protocol === 'wss:';
  return { host: stripBrackets(url.hostname), port: Number(url.port) || (secure ? 443 : 80), secure };
}
