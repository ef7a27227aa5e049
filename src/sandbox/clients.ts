// OAuth clients of the simulated organisation, and the well-known ones that `gcg demo` and the examples use.
// It only describes and finds them; the token endpoint authenticates them.

/** The grants of a client. PKCE is `code` without a secret on the request. */
export type GrantKind = 'client_credentials' | 'code' | 'saml2_bearer' | 'implicit';

/**
 * A registered client. `secret` absent: a public client. Redirect URIs match exactly, except that a loopback one
 * matches on any port.
 */
export interface SandboxClient {
  id: string;
  name: string;
  secret?: string;
  grants: readonly GrantKind[];
  redirectUris?: readonly string[];
  /** Seconds; the platform's own range is 300 to 172800. Default 86400. */
  accessTokenLifetimeS?: number;
  scope?: readonly string[];
}

const LOOPBACK_REDIRECTS = ['127.0.0.1', 'localhost', '[::1]'].flatMap((host) =>
  ['/-/callback', '/callback', '/oauth2/callback', '/'].map((path) => `http://${host}${path}`),
);

/**
 * The default clients of every simulation, one per grant. They are published here on purpose: they give access to
 * nothing but a simulation on loopback.
 */
export const DEMO_CLIENTS = {
  clientCredentials: {
    id: '5a4d0b1e-0001-4000-8000-000000000001',
    name: 'Demo service',
    secret: 'demo-secret-client-credentials',
    grants: ['client_credentials'],
  },
  code: {
    id: '5a4d0b1e-0002-4000-8000-000000000002',
    name: 'Demo web application',
    secret: 'demo-secret-code',
    grants: ['code'],
    redirectUris: LOOPBACK_REDIRECTS,
  },
  pkce: {
    id: '5a4d0b1e-0003-4000-8000-000000000003',
    name: 'Demo desktop application',
    grants: ['code'],
    redirectUris: LOOPBACK_REDIRECTS,
  },
  saml2Bearer: {
    id: '5a4d0b1e-0004-4000-8000-000000000004',
    name: 'Demo SAML bridge',
    secret: 'demo-secret-saml2-bearer',
    grants: ['saml2_bearer'],
  },
  implicit: {
    id: '5a4d0b1e-0005-4000-8000-000000000005',
    name: 'Demo single-page application',
    grants: ['implicit'],
    redirectUris: LOOPBACK_REDIRECTS,
  },
} as const satisfies Record<string, SandboxClient>;

/** Finds clients by id. */
export interface ClientRegistry {
  find(id: string): SandboxClient | undefined;
}

export function createClientRegistry(clients: readonly SandboxClient[] = Object.values(DEMO_CLIENTS)): ClientRegistry {
  const byId = new Map(clients.map((client) => [client.id, client]));
  return { find: (id) => byId.get(id) };
}
