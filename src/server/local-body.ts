// How the bodies of local routes are read, set for a scope of routes as a whole. Forwarded bodies never come this way.

import type { FastifyInstance } from 'fastify';

/** Bodies of every type are text, up to `limitBytes`; the framework's 413 beyond, before it is read whole. */
export function readBodiesAsText(scope: FastifyInstance, limitBytes: number): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit: limitBytes }, (_request, body, done) => done(null, body));
}

/** Nothing is read of a body, whatever its type says: what is wrong or right about the request lies elsewhere. */
export function ignoreBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
}
