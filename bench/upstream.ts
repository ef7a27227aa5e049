// The TLS upstream of the benchmark: a token endpoint, 1.1 kB of JSON, and bytes in both directions. A process of its
// own.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [keyFile = '', certFile = ''] = process.argv.slice(2);
const json = Buffer.from(
  JSON.stringify({
    entities: Array.from({ length: 5 }, (_, i) => ({ id: `user-${i}`, name: 'x'.repeat(180) })),
    pageSize: 5,
  }),
);
const megabyte = Buffer.alloc(1024 * 1024, 'x');

const server = createServer(
  { key: readFileSync(keyFile), cert: readFileSync(certFile), keepAliveTimeout: 60_000 },
  (request, response) => {
    const { url = '' } = request;
    if (url === '/oauth/token') {
      const token = JSON.stringify({ access_token: 'benchmark-token', token_type: 'bearer', expires_in: 86_400 });
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': token.length }).end(token);
    } else if (url.startsWith('/api/v2/bytes/')) {
      let left = Number(url.slice('/api/v2/bytes/'.length)) / megabyte.length;
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': left * megabyte.length });
      const push = () => {
        while (left > 0) {
          left -= 1;
          if (!response.write(megabyte)) {
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
