// The table of the gateway's own routes: their paths and methods, and for each kind who may use it, from where, and how
// it says that something is wrong. It responds to nothing; a new path of our own is a row here and a handler.

/**
 * What a route is for. `callback` is where a browser comes back to after a login at the platform; `inspector` is the
 * data of the live page, `page-key` where its key is had, `page` the page without any data, and `page-file` what it is
 * made of.
 */
export type RouteKind =
  | 'health'
  | 'metrics'
  | 'token'
  | 'login-redirect'
  | 'channel'
  | 'admin'
  | 'callback'
  | 'inspector'
  | 'page-key'
  | 'page'
  | 'page-file';

interface RoutePolicy {
  /** Served by a listener for health alone, with GET. */
  readonly isProbe: boolean;
  /** Served by data listeners only. */
  readonly isData: boolean;
  /** Served whatever the Host: probes call by address or by a service's name. */
  readonly isAnyHost: boolean;
  /** Callers need not be authenticated when they come here: the handler authenticates by itself where it needs to. */
  readonly isOpen: boolean;
  /**
   * Where a browser arrives from elsewhere by a link or redirect; such a route only sends it on, takes the one-time
   * response of a login, or is a page that holds no data.
   */
  readonly isReturn: boolean;
  /**
   * Whether pages of the origins in `server.cors_origins` may use it; all other routes are for pages of our own origin.
   */
  readonly isForApplications: boolean;
  /** Serves those who look at calls: not a call to be looked at itself. */
  readonly isInspection: boolean;
  /** The shape of errors: the platform API's, or the token endpoint's (RFC 6749 section 5.2). */
  readonly errorFormat: 'api' | 'oauth';
}

/** One route of our own. */
export interface OwnRoute extends RoutePolicy {
  readonly kind: RouteKind;
  /** As the router takes it, `/-/login/:name`. */
  readonly path: string;
  /** As records and metrics name it, `/-/login/{name}`. */
  readonly template: string;
  readonly methods: readonly string[];
}

const CLOSED: RoutePolicy = {
  isProbe: false,
  isData: false,
  isAnyHost: false,
  isOpen: false,
  isReturn: false,
  isForApplications: false,
  isInspection: false,
  errorFormat: 'api',
};

const INSPECTION: RoutePolicy = { ...CLOSED, isInspection: true };

const POLICIES: Readonly<Record<RouteKind, RoutePolicy>> = {
  health: { ...CLOSED, isProbe: true, isAnyHost: true, isOpen: true },
  metrics: { ...CLOSED, isProbe: true },
  token: { ...CLOSED, isData: true, isOpen: true, isForApplications: true, errorFormat: 'oauth' },
  'login-redirect': { ...CLOSED, isData: true, isOpen: true, isReturn: true, isForApplications: true },
  channel: { ...CLOSED, isData: true, isForApplications: true },
  admin: CLOSED,
  callback: { ...CLOSED, isOpen: true, isReturn: true },
  inspector: INSPECTION,
  'page-key': { ...INSPECTION, isOpen: true },
  page: { ...INSPECTION, isOpen: true, isReturn: true },
  'page-file': { ...INSPECTION, isOpen: true },
};

/** Where the forwarding path is mounted in the router. */
export const FORWARD_MOUNT = '/api/v2/';

export const TOKEN_PATH = '/oauth/token';
export const AUTHORIZE_PATH = '/oauth/authorize';
export const LOGOUT_PATH = '/logout';
export const CALLBACK_PATH = '/-/callback';

const READ = ['GET', 'HEAD'];

const row = (kind: RouteKind, path: string, methods: readonly string[]): OwnRoute => ({
  ...POLICIES[kind],
  kind,
  path,
  template: path.replaceAll(/:(\w+)/g, '{$1}'),
  methods,
});

/** All routes of our own. */
export const OWN_ROUTES: readonly OwnRoute[] = [
  row('health', '/livez', READ),
  row('health', '/healthz', READ),
  row('health', '/readyz', READ),
  row('metrics', '/metrics', READ),
  row('token', TOKEN_PATH, ['POST']),
  row('login-redirect', AUTHORIZE_PATH, READ),
  row('login-redirect', LOGOUT_PATH, READ),
  // Taken as an upgrade, never by the router.
  row('channel', '/streaming/channels/:id', []),
  row('admin', '/', READ),
  row('admin', '/-/status', READ),
  row('admin', '/-/usage', READ),
  row('admin', '/-/operations', READ),
  row('admin', '/-/credentials/:name/refresh', ['POST']),
  row('admin', '/-/credentials/:name/logout', ['POST']),
  row('admin', '/-/credentials/:name/assertion', ['POST']),
  row('admin', '/-/clients/:name/block', ['POST']),
  row('admin', '/-/clients/:name/unblock', ['POST']),
  row('admin', '/-/reload', ['POST']),
  row('admin', '/-/quit', ['POST']),
  row('admin', '/-/login', ['GET', 'POST']),
  row('admin', '/-/login/:name', ['GET', 'POST']),
  row('inspector', '/-/calls', [...READ, 'DELETE']),
  row('inspector', '/-/calls/:id', READ),
  row('inspector', '/-/calls/:id/replay', ['POST']),
  row('inspector', '/-/capture', [...READ, 'POST', 'DELETE']),
  row('inspector', '/-/export', ['POST']),
  row('inspector', '/-/export/which', ['POST']),
  row('inspector', '/-/events', ['GET']),
  row('inspector', '/-/insight', READ),
  row('page-key', '/-/ui/session', ['POST', 'DELETE']),
  row('page-key', '/-/ui/link', ['POST']),
  row('callback', CALLBACK_PATH, ['GET', 'POST']),
  row('page', '/-/ui', READ),
  row('page', '/-/ui/', READ),
  row('page-file', '/-/ui/:version/:name', READ),
];

const byPath = new Map(OWN_ROUTES.map((route) => [route.path, route]));
const withParameters = OWN_ROUTES.filter(({ path }) => path.includes(':')).map((route) => ({
  pattern: patternOf(route.path),
  route,
}));

/** Matches the paths of a route with plain segments and `:names`. */
export function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/:[\w~-]+/g, '[^/]+')}$`);
}

/** The route at a path, spelled as it is; null where there is none. */
export function findOwnRoute(path: string): OwnRoute | null {
  return byPath.get(path) ?? withParameters.find(({ pattern }) => pattern.test(path))?.route ?? null;
}
