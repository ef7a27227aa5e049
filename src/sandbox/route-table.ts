// Path templates to handlers: finds the route of a method and a raw path. Segments are decoded after splitting, so an
// encoded slash stays inside one.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SandboxState } from './state.ts';
import type { AccessToken } from './tokens.ts';

/** What a handler is given. `params` are decoded; `cut` is set when the body must be spoilt. */
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
