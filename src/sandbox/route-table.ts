// The routes of the API: finds the handler of a method and a raw path, and pages the lists that handlers answer with.
// Segments are decoded after splitting, so an encoded slash stays inside one.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { PlatformError } from './faults.ts';
import type { Needs } from './permissions.ts';
import type { SandboxState } from './state.ts';
import type { AccessToken } from './tokens.ts';

/** What a handler is given. `params` are decoded; with `cut` the body has to break off half-way. */
export interface ApiCall {
  sandbox: SandboxState;
  req: IncomingMessage;
  res: ServerResponse;
  path: string;
  query: URLSearchParams;
  params: Readonly<Record<string, string>>;
  token: AccessToken;
  streamingBase: string;
  cut: boolean;
  /** Answers with JSON, or with no body where the value is `undefined`. */
  reply(status: number, value?: unknown): Promise<void>;
}

/** One route. `template` is `METHOD /path/{name}`. */
export interface Route {
  template: string;
  /** What the caller must be granted while permissions are enforced. */
  needs?: Needs;
  handle(call: ApiCall): Promise<void> | void;
}

/** Finds routes. */
export interface RouteTable {
  find(method: string, path: string): { route: Route; params: Record<string, string> } | undefined;
}

export function createRouteTable(routes: readonly Route[]): RouteTable {
  const prepared = routes.map((route) => {
    const [method = '', path = ''] = route.template.split(' ');
    return { route, method, segments: path.split('/') };
  });
  return {
    find(method, path) {
      const segments = path.split('/');
      for (const candidate of prepared) {
        if (candidate.method !== method || candidate.segments.length !== segments.length) continue;
        const params = matchSegments(candidate.segments, segments);
        if (params) return { route: candidate.route, params };
      }
      return undefined;
    },
  };
}

function matchSegments(template: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  const params: Record<string, string> = {};
  for (const [index, expected] of template.entries()) {
    const segment = segments[index] ?? '';
    if (expected.startsWith('{')) {
      if (segment === '') return undefined;
      params[expected.slice(1, -1)] = decodeSegment(segment);
    } else if (expected !== segment) return undefined;
  }
  return params;
}

/** A lone `%` is legal on the wire; such a segment is taken as it is. */
function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** The largest page the platform gives. */
const MAX_PAGE_SIZE = 500;

/**
 * Returns one page of `all`, in the platform's form, by `pageSize` and `pageNumber` of the query (page 0 is read as 1).
 * Throws PlatformError 400 for an invalid page.
 */
export function createPage(
  { query, path }: Pick<ApiCall, 'query' | 'path'>,
  all: readonly unknown[],
): Record<string, unknown> {
  const pageSize = readNumber(query, 'pageSize', 25);
  if (pageSize < 1 || pageSize > MAX_PAGE_SIZE)
    throw new PlatformError(400, 'bad.request', `pageSize must be between 1 and ${MAX_PAGE_SIZE}.`);
  const pageNumber = Math.max(1, readNumber(query, 'pageNumber', 1));
  const pageCount = Math.ceil(all.length / pageSize);
  const link = (page: number) => `${path}?pageSize=${pageSize}&pageNumber=${page}`;
  return {
    entities: all.slice((pageNumber - 1) * pageSize, pageNumber * pageSize),
    pageSize,
    pageNumber,
    total: all.length,
    firstUri: link(1),
    selfUri: link(pageNumber),
    lastUri: link(Math.max(1, pageCount)),
    ...(pageNumber < pageCount && { nextUri: link(pageNumber + 1) }),
    ...(pageNumber > 1 && { previousUri: link(pageNumber - 1) }),
    pageCount,
  };
}

function readNumber(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name);
  if (text === null || text === '') return fallback;
  if (!/^\d{1,9}$/.test(text)) throw new PlatformError(400, 'bad.request', `${name} is not a number.`);
  return Number(text);
}
