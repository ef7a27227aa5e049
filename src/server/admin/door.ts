// The doors of all local routes by their paths, for who asks with a method that a route does not have: whoever may not see it is not told of it.

import type { Identity } from '../identify.ts';
import { CALLBACK_PATH } from '../login/redirect-uri.ts';
import { assertMetricsServed } from '../metrics-route.ts';
import type { RouteDoor } from '../wrong-method.ts';
import { assertAdminPage } from './guard.ts';

/** Health, logins of applications and the login's landing are known to everybody; so are an embedding program's routes to whoever was let in. */
export function createRouteDoor(identity: () => Identity): RouteDoor {
  return (exchange, path) => {
    if (path === '/metrics') assertMetricsServed(exchange, identity());
    else if (path === '/' || (path.startsWith('/-/') && path !== CALLBACK_PATH)) assertAdminPage(exchange, identity());
  };
}
