// The gateway with its records at one level, in a process that tells its CPU time. Records go to /dev/null, as a
// collector's pipe would take them.

import type { LogLevel } from '../src/config/gateway-config.ts';
import { createGateway } from '../src/gateway.ts';
import { createLogger } from '../src/logging/logger.ts';
import { createLiveSecrets } from '../src/logging/redact/live-secrets.ts';
import { configAt, credentialAt, hostsAt } from '../test/helpers/gateway.ts';
import { answerAccounting } from './accounting.ts';

const [port = '', caFile = '', level = 'info'] = process.argv.slice(2);
const origin = `https://localhost:${port}`;
const config = configAt(origin, {
  credentials: [credentialAt(origin, { hosts: hostsAt(origin) })],
  tls: { caFile },
  logging: { toConsole: true, level: level as LogLevel },
  rateLimit: { mode: 'off' },
});
const liveSecrets = createLiveSecrets();
const log = createLogger(config.logging, { liveSecrets });
const gateway = await createGateway(config, { log, liveSecrets, env: {} });
const [address] = (await gateway.listen()) as [string];
await gateway.runtime().credentials.default()?.source.token();
answerAccounting(Number(new URL(address).port));
