// @fastify/http-proxy as its own page shows it, with Fastify's logging on: the yardstick.

import httpProxy from '@fastify/http-proxy';
import Fastify from 'fastify';
import { answerAccounting } from './accounting.ts';

const [upstream = ''] = process.argv.slice(2);
const app = Fastify({ logger: true, bodyLimit: 2 ** 30 });
await app.register(httpProxy, {
  upstream,
  prefix: '/api/v2',
  rewritePrefix: '/api/v2',
  replyOptions: {
    rewriteRequestHeaders: (_request, headers) => ({ ...headers, authorization: 'Bearer benchmark-token' }),
  },
});
await app.listen({ port: 0, host: '127.0.0.1' });
answerAccounting((app.server.address() as { port: number }).port);
