// The gateway with its default logging, as `gcg serve` runs it, in a process that tells its CPU time.

import { createGateway } from '../src/gateway.ts';
import { createLogger } from '../src/logging/logger.ts';
import { configAt, credentialAt, hostsAt } from '../test/helpers/gateway.ts';
import { answerAccounting } from './accounting.ts';

const [port = '', caFile = '', inspector = ''] = process.argv.slice(2);
const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const origin = `https://localhost:${port}`;
const config = configAt(origin, {
  credentials: [credentialAt(origin, { hosts: hostsAt(origin) })],
  tls: { caFile },
  logging: { toConsole: true },
  rateLimit: { mode: 'off' },
  ...(inspector !== '' && { server: { adminListen: LOCAL }, inspector: { enabled: inspector === 'on' } }),
});
const log = createLogger(config.logging, {});
const gateway = await createGateway(config, { log, env: {} });
const [address] = (await gateway.listen()) as [string];
await gateway.runtime().credentials.default()?.source.token();
answerAccounting(Number(new URL(address).port), { pageKey: gateway.pageKey });
