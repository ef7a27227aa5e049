// The gateway with its default logging, as `gcg serve` runs it, in a process that tells its CPU time.

import { createGateway } from '../src/gateway.ts';
import { createLogger } from '../src/logging/logger.ts';
import { configAt, credentialAt, hostsAt } from '../test/helpers/gateway.ts';
import { answerAccounting } from './accounting.ts';

const [port = '', caFile = ''] = process.argv.slice(2);
const origin = `https://localhost:${port}`;
const config = configAt(origin, {
  credentials: [credentialAt(origin, { hosts: hostsAt(origin) })],
  tls: { caFile },
  logging: { toConsole: true },
  rateLimit: { mode: 'off' },
});
const log = createLogger(config.logging, {});
const gateway = await createGateway(config, { log, env: {} });
const [address] = (await gateway.listen()) as [string];
await gateway.runtime().credentials.default()?.source.token();
answerAccounting(Number(new URL(address).port));
