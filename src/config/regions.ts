// The regions of Genesys Cloud, and every way people write one. Says what is wrong instead of guessing.

import { didYouMean } from './nearest.ts';
import { shown } from './problem.ts';
import { type Parsed, refused } from './values.ts';

/** Region names, spelt with hyphens, and their domains. The first is the default. */
export const REGIONS = {
  'us-east-1': 'mypurecloud.com',
  'eu-west-1': 'mypurecloud.ie',
  'ap-southeast-2': 'mypurecloud.com.au',
  'ap-northeast-1': 'mypurecloud.jp',
  'eu-central-1': 'mypurecloud.de',
  'us-west-2': 'usw2.pure.cloud',
  'ca-central-1': 'cac1.pure.cloud',
  'ap-northeast-2': 'apne2.pure.cloud',
  'eu-west-2': 'euw2.pure.cloud',
  'ap-south-1': 'aps1.pure.cloud',
  'us-east-2': 'use2.us-gov-pure.cloud',
  'sa-east-1': 'sae1.pure.cloud',
  'me-central-1': 'mec1.pure.cloud',
  'ap-northeast-3': 'apne3.pure.cloud',
  'eu-central-2': 'euc2.pure.cloud',
  'mx-central-1': 'mxc1.pure.cloud',
  'ap-southeast-1': 'apse1.pure.cloud',
  'eusc-de-east-1': 'edee1.eusc-pure.cloud',
} as const;

const DOMAINS: ReadonlySet<string> = new Set(Object.values(REGIONS));
const BY_NAME = new Map<string, string>(Object.entries(REGIONS));

/** A region's domain (with a port, where one was given); `warning` when it is not a listed one. */
export interface Region {
  readonly domain: string;
  readonly warning: string | null;
}

/**
 * Reads what `setEnvironment` of the SDKs takes (`mypurecloud.de`, `api.mypurecloud.de`, `https://api.mypurecloud.de/`) and region names with
 * hyphens or underscores, in any case. The hosts of other services and addresses of single machines are refused with the right spelling.
 */
export function parseRegion(text: string): Parsed<Region> {
  const bare = text
    .trim()
    .toLowerCase()
    .replace(/\/+$/, '')
    .replace(/^https:\/\//, '')
    .replace(/^http:\/\//, '')
    .replace(/^api\./, '');
  const named = BY_NAME.get(bare.replaceAll('_', '-'));
  if (named !== undefined) return { ok: true, value: { domain: named, warning: null } };
  if (DOMAINS.has(bare)) return { ok: true, value: { domain: bare, warning: null } };

  const service = /^(login|apps|streaming|developer)\.(.+)$/.exec(bare);
  if (service) return refused(`${shown(text)} is the ${service[1]} host; write the region alone: ${service[2]?.split('/')[0]}`);
  if (/[/?#@\s]/.test(bare)) return refused(`${shown(text)} is not a region; write a domain like mypurecloud.de, without path, query or user name`);
  if (isAddress(bare)) {
    return refused(
      `${shown(text)} is a machine, not a region; to send everything to a gateway or test server, set [gateway] host, protocol and port`,
    );
  }
  if (!bare.includes('.')) {
    return refused(
      `${shown(text)} is not a region${didYouMean(bare.replaceAll('_', '-'), BY_NAME.keys()) || '; write one like eu-central-1 or mypurecloud.de'}`,
    );
  }
  if (!/^(?!-)[a-z0-9-]+(\.[a-z0-9-]+)+(:\d{1,5})?$/.test(bare))
    return refused(`${shown(text)} is not a host name; write a domain like mypurecloud.de`);
  if (!URL.canParse(`https://api.${bare}`)) return refused(`${shown(text)} is not a host name; write a domain like mypurecloud.de`);
  const hint = didYouMean(bare, DOMAINS);
  return { ok: true, value: { domain: bare, warning: `${shown(bare)} is not one of the known regions; it is used as it is${hint}` } };
}

function isAddress(host: string): boolean {
  return /^(localhost|.*\.localhost|\[.*\]|[\d.]+)(:\d+)?$/.test(host) || /^[0-9a-f]*:[0-9a-f:]+$/.test(host);
}
