// A redirect that names the upstream's own host would lead the caller past the gateway, without a token: it is turned
// to ours. Pure.

import type { UrlBase } from '../config/gateway-config.ts';

/**
 * What a Location of ours begins with: nothing, as it is then right by whatever host the caller used; where an ingress
 * takes a path off, the whole of `server.public_url`, since its path without its host would lead those astray who did
 * not come through it.
 */
export function redirectBase(publicUrl: string | null): string {
  return publicUrl === null || new URL(publicUrl).pathname === '/' ? '' : publicUrl.replace(/\/+$/, '');
}

/**
 * Rewrites a Location to the upstream's API base so that it leads back through `prefix` here; any other Location
 * passes.
 */
export function rewriteLocation(location: string, base: UrlBase, prefix: string): string {
  const { origin, pathPrefix } = base;
  if (location.startsWith('/') && !location.startsWith('//')) {
    const path = withoutPrefix(location, pathPrefix);
    return path === null ? location : prefix + path;
  }
  let url: URL;
  try {
    url = new URL(location.startsWith('//') ? new URL(origin).protocol + location : location);
  } catch {
    // A relative or broken Location is left to the caller, who resolves it against our address.
    return location;
  }
  if (url.origin !== origin || url.username !== '' || url.password !== '') return location;
  // Cut, not re-serialised: URL would normalise what the upstream wrote.
  const authority = AUTHORITY.exec(location)?.[0];
  if (authority === undefined) return location;
  const rest = location.slice(authority.length);
  const path = withoutPrefix(rest.startsWith('/') ? rest : `/${rest}`, pathPrefix);
  // Standing alone, `//host/path` names another host; so does what a browser reads as that.
  return path === null || /^\/\t*[\\/]/.test(path) ? location : prefix + path;
}

const AUTHORITY = /^(?:https?:)?\/\/[^/?#\\]+/i;

function withoutPrefix(path: string, pathPrefix: string): string | null {
  if (pathPrefix === '') return path;
  if (!path.startsWith(pathPrefix)) return null;
  const rest = path.slice(pathPrefix.length);
  return rest === '' || /^[/?#]/.test(rest) ? rest : null;
}
