// Turns a request path into its route template (`/api/v2/users/{id}/queues`): few enough to be a metric label, whatever
// ids the paths hold. It goes by the words that the platform's paths are made of, not by what an id looks like; it
// knows no methods.

import { ROUTE_WORDS } from './route-words.ts';

export interface RouteTemplates {
  /** The template of a path or target (query ignored). Cached: a path seen lately costs one look-up. Never throws. */
  of(target: string): string;
}

/** What stands for a route once there are too many, and for paths that lead nowhere. */
export const OTHER_ROUTE = 'other';

const MAX_TEMPLATES = 150;
const MAX_CACHED_PATHS = 2048;
const LONGEST_CACHED_PATH = 256;
const MAX_SEGMENTS = 12;

/** At most `maxTemplates` different templates are given out; every further one is `other`. */
export function createRouteTemplates({ maxTemplates = MAX_TEMPLATES }: { maxTemplates?: number } = {}): RouteTemplates {
  const words = new Set(ROUTE_WORDS.split(/\s+/));
  const templates = new Set<string>();
  const cache = new Map<string, string>();

  const admit = (template: string): string => {
    if (templates.has(template)) return template;
    if (templates.size >= maxTemplates) return OTHER_ROUTE;
    templates.add(template);
    return template;
  };

  return {
    of(target) {
      const queryAt = target.indexOf('?');
      const path = queryAt === -1 ? target : target.slice(0, queryAt);
      const known = cache.get(path);
      if (known !== undefined) return known;
      const template = templateOf(path, words);
      const admitted = template === OTHER_ROUTE ? template : admit(template);
      if (path.length <= LONGEST_CACHED_PATH) {
        // Emptied rather than aged: filling it again costs less than keeping order on every look-up.
        if (cache.size >= MAX_CACHED_PATHS) cache.clear();
        cache.set(path, admitted);
      }
      return admitted;
    },
  };
}

function templateOf(path: string, words: ReadonlySet<string>): string {
  const apiAt = path.startsWith('/api/v2/') ? 0 : path.indexOf('/api/v2/');
  // Routes of our own have their templates from the table of routes.
  if (apiAt === -1 || segmentsBefore(path, apiAt) > 2) return OTHER_ROUTE;
  let template = '/api/v2';
  let at = apiAt + '/api/v2/'.length;
  for (let count = 0; at <= path.length; count++) {
    if (count === MAX_SEGMENTS) return `${template}/…`;
    const next = path.indexOf('/', at);
    const end = next === -1 ? path.length : next;
    const segment = path.slice(at, end);
    if (segment !== '') template += words.has(segment) ? `/${segment}` : '/{id}';
    at = end + 1;
  }
  return template;
}

function segmentsBefore(path: string, at: number): number {
  let count = 0;
  for (let slash = path.indexOf('/'); slash !== -1 && slash < at; slash = path.indexOf('/', slash + 1)) count++;
  return count;
}
