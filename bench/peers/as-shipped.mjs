// @fastify/http-proxy as its own page shows it, with Fastify's logging on: the yardstick. Plain JavaScript, so that its
// start and its memory hold no compiler.

import { readFileSync } from 'node:fs';
import httpProxy from '@fastify/http-proxy';
import Fastify from 'fastify';

const [listen = '', upstream = '', caFile = ''] = process.argv.slice(2);
const [host, port] = listen.split(':');
const app = Fastify({ logger: true, bodyLimit: 2 ** 30 });
await app.register(httpProxy, {
  upstream,
  prefix: '/api/v2',
  rewritePrefix: '/api/v2',
  undici: { connect: { ca: readFileSync(caFile), rejectUnauthorized: true } },
  replyOptions: {
    rewriteRequestHeaders: (_request, headers) => ({ ...headers, authorization: 'Bearer benchmark-token' }),
  },
});
await app.listen({ port: Number(port), host });
