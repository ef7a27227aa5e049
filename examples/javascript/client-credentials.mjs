// A service that lists users. It holds the name and secret of a [client] of the gateway, and nothing of Genesys Cloud.
// Run: GATEWAY_CLIENT=crm GATEWAY_SECRET=… node client-credentials.mjs
import { env, stdout } from 'node:process';
import platformClient from 'purecloud-platform-client-v2';

const { GATEWAY_HOST = 'localhost', GATEWAY_PORT = '8080', GATEWAY_CLIENT = 'local', GATEWAY_SECRET = 'local' } = env;

const client = platformClient.ApiClient.instance;
// The SDK's own configuration file must not undo the next line while the program runs.
client.config.live_reload_config = false;
client.setGateway({ host: GATEWAY_HOST, protocol: 'http', port: Number(GATEWAY_PORT) });
await client.loginClientCredentialsGrant(GATEWAY_CLIENT, GATEWAY_SECRET);

const users = new platformClient.UsersApi();
const { total, entities = [] } = await users.getUsers({ pageSize: 5 });
stdout.write(`${total} users, the first: ${entities.map(({ name }) => name).join(', ')}\n`);
