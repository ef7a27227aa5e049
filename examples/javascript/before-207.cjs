// A service that lists users, with an SDK before 207.0.0, which has no gateway setting. It does not log in: such an SDK
// would send its id and secret to the region's login host. The secret of a [client] of the gateway is its token.
// Run: GATEWAY_SECRET=… node before-207.cjs
const { env, stderr, stdout } = require('node:process');
const platformClient = require('purecloud-platform-client-v2');

const { GATEWAY = 'http://localhost:8080', GATEWAY_SECRET = '' } = env;

const client = platformClient.ApiClient.instance;
// The SDK's own configuration file must not undo the next line while the program runs.
client.config.live_reload_config = false;
client.config.basePath = GATEWAY;
// Without [client] sections the gateway needs no proof.
if (GATEWAY_SECRET !== '') client.setAccessToken(GATEWAY_SECRET);

async function main() {
  const { total, entities } = await new platformClient.UsersApi().getUsers({ pageSize: 5 });
  stdout.write(`${total} users, the first: ${entities.map(({ name }) => name).join(', ')}\n`);
}
main().catch((error) => {
  stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
