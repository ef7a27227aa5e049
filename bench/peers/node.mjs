// The least that Node can do: node:http in front, node:https with kept connections behind, a fixed bearer, one JSON line
// a request. It handles no error and is no gateway.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Agent, request } from 'node:https';

const [listen = '', upstream = '', caFile = ''] = process.argv.slice(2);
const [host, port] = listen.split(':');
const { hostname, port: upstreamPort, host: upstreamHost } = new URL(upstream);
const agent = new Agent({ keepAlive: true, ca: readFileSync(caFile), maxFreeSockets: 1024 });

const server = createServer((incoming, response) => {
  const at = performance.now();
  const { method, url: path, headers } = incoming;
  const forwarded = { ...headers, host: upstreamHost, authorization: 'Bearer benchmark-token' };
  delete forwarded.connection;
  const outgoing = request({ agent, hostname, port: upstreamPort, method, path, headers: forwarded }, (answer) => {
    const { connection: _connection, 'keep-alive': _keepAlive, ...kept } = answer.headers;
    response.writeHead(answer.statusCode ?? 502, kept);
    answer.pipe(response);
    answer.on('end', () => {
      const line = { time: Date.now(), method, path, status: answer.statusCode, ms: performance.now() - at };
      process.stdout.write(`${JSON.stringify(line)}\n`);
    });
  });
  outgoing.on('error', () => response.destroy());
  incoming.pipe(outgoing);
});
server.listen(Number(port), host);
