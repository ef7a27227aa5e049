// `gcg check --online`: a token for each credential and one harmless call with it, without opening a listener.

import { type Credential, createCredentials } from '../auth/credentials.ts';
import { createMemoryStore } from '../auth/store/memory.ts';
import { systemClock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { type GatewayError, isGatewayError } from '../errors.ts';
import { createExchangeRecord } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import { createOutbound, type Outbound } from '../outbound.ts';
import { NO_BODY } from '../upstream/request-body.ts';
import { platformCode } from '../upstream/token-replay.ts';
import { EXIT, type Io } from './io.ts';

const SILENT: Log = { error() {}, warn() {}, info() {}, debug() {} };

/** One line per credential on stdout. 0 when all are good, 77 when one is refused, 69 when the platform cannot be reached. */
export async function checkOnline(config: GatewayConfig, io: Io): Promise<number> {
  const store = createMemoryStore({ clock: systemClock });
  const deps = { clock: systemClock, random: Math.random, log: SILENT };
  const outbound = createOutbound(config, { ...deps, env: io.env as NodeJS.ProcessEnv });
  const credentials = createCredentials({ ...deps, config, store, transport: outbound.transport });
  // Timers of ours do not keep a process alive: this one must live until the answers are there.
  const alive = setInterval(() => {}, 60_000);
  try {
    const codes: number[] = [];
    for (const credential of credentials.list()) {
      const { code, words } = await tryCredential(outbound, credential);
      io.stdout.write(`  ${credential.config.name}: ${words}\n`);
      codes.push(code);
    }
    return [EXIT.refused, EXIT.unavailable, EXIT.failure].find((code) => codes.includes(code)) ?? EXIT.ok;
  } finally {
    clearInterval(alive);
    credentials.close();
    await outbound.close();
  }
}

async function tryCredential(outbound: Outbound, credential: Credential): Promise<{ code: number; words: string }> {
  try {
    await credential.source.token();
    const answer = await outbound.send({
      method: 'GET',
      base: credential.config.hosts.api,
      target: '/api/v2/tokens/me',
      headers: ['Accept', 'application/json', 'Authorization', ''],
      body: NO_BODY,
      credential: credential.config.name,
      source: credential.source,
      record: createExchangeRecord(),
      caller: { left: false, onLeave: null },
    });
    const code = answer.statusCode < 400 ? null : await platformCode(answer);
    answer.discard();
    if (answer.statusCode < 400) return { code: EXIT.ok, words: `token obtained, GET /api/v2/tokens/me answered ${answer.statusCode}` };
    return {
      code: answer.statusCode < 500 ? EXIT.refused : EXIT.unavailable,
      words: `GET /api/v2/tokens/me answered ${answer.statusCode} ${code ?? ''}`,
    };
  } catch (error) {
    return isGatewayError(error) ? { code: exitCode(error), words: error.message } : { code: EXIT.failure, words: 'failed unexpectedly' };
  }
}

function exitCode(error: GatewayError): number {
  return error.code === 'gateway.credential.rejected' || error.code === 'gateway.login.required' ? EXIT.refused : EXIT.unavailable;
}
