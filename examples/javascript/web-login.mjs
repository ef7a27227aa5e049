// A web application that logs its users in with the code grant. Login page, exchange and refresh all go through the gateway,
// which keeps the real tokens: this program only ever sees handles.
// Run: GATEWAY_CLIENT=portal GATEWAY_SECRET=… node web-login.mjs, then open http://localhost:3000/
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { env, stdout } from 'node:process';
import platformClient from 'purecloud-platform-client-v2';

const {
  GATEWAY_HOST = 'localhost',
  GATEWAY_PORT = '8080',
  GATEWAY_CLIENT = 'portal',
  GATEWAY_SECRET = '',
  PORT = '3000',
} = env;

const client = platformClient.ApiClient.instance;
client.config.live_reload_config = false;
client.setGateway({ host: GATEWAY_HOST, protocol: 'http', port: Number(GATEWAY_PORT) });

const states = new Set();

const server = createServer(async (request, response) => {
  const own = `http://localhost:${server.address().port}`;
  const url = new URL(request.url, own);
  if (url.pathname === '/callback') {
    if (!states.delete(url.searchParams.get('state')))
      return response.writeHead(400).end('This login was not begun here.\n');
    await client.loginCodeAuthorizationGrant(
      GATEWAY_CLIENT,
      GATEWAY_SECRET,
      url.searchParams.get('code'),
      `${own}/callback`,
    );
    const me = await new platformClient.UsersApi().getUsersMe();
    return response.end(`Hello ${me.name}\n`);
  }
  const state = randomUUID();
  states.add(state);
  const query = new URLSearchParams({
    client_id: GATEWAY_CLIENT,
    redirect_uri: `${own}/callback`,
    response_type: 'code',
    state,
  });
  response.writeHead(302, { Location: `http://${GATEWAY_HOST}:${GATEWAY_PORT}/oauth/authorize?${query}` }).end();
});

server.listen(Number(PORT), () => stdout.write(`open http://localhost:${server.address().port}/\n`));
