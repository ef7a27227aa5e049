// The TLS upstream of the benchmark: a token endpoint, 1.1 kB of JSON, and bytes in both directions. A process of its
// own. It closes idle connections after a minute without having announced it, as load balancers of clouds do.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [keyFile = '', certFile = '', idleSeconds = '60'] = process.argv.slice(2);
const json = Buffer.from(
  JSON.stringify({
    entities: Array.from({ length: 5 }, (_, i) => ({ id: `user-${i}`, name: 'x'.repeat(180) })),
    pageSize: 5,
  }),
);
const megabyte = Buffer.alloc(1024 * 1024, 'x');

const server = createServer(
  {
    key: readFileSync(keyFile),
    cert: readFileSync(certFile),
    keepAliveTimeout: Number(idleSeconds) * 1000,
    // Node closes a little later than it says; nothing is said here.
    keepAliveTimeoutBuffer: 0,
    requestTimeout: 0,
  },
  (request, response) => {
    const { url = '' } = request;
    // Set by hand, or Node adds the hint.
    response.setHeader('connection', 'keep-alive');
    if (url === '/oauth/token') {
      const token = JSON.stringify({ access_token: 'benchmark-token', token_type: 'bearer', expires_in: 86_400 });
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': token.length }).end(token);
    } else if (url.startsWith('/api/v2/bytes/')) {
      const bytes = Number(url.slice('/api/v2/bytes/'.length));
      let left = bytes;
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes });
      const push = () => {
        while (left > 0) {
          const part = left < megabyte.length ? megabyte.subarray(0, left) : megabyte;
          left -= part.length;
          if (!response.write(part)) {
            response.once('drain', push);
            return;
          }
        }
        response.end();
      };
      push();
    } else if (request.method === 'POST') {
      request.on('data', () => {});
      request.on('end', () => response.writeHead(204).end());
    } else {
      response
        .writeHead(200, {
          'content-type': 'application/json',
          'content-length': json.length,
          'inin-correlation-id': '3b1f0d6e-0000-4000-8000-000000000000',
        })
        .end(json);
    }
  },
);
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }));
