// A gateway process with secrets of every kind in its configuration, and a platform that is not there.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { exchangeRaw } from './raw-http.ts';
import { startServe } from './serve-process.ts';

export const SECRETS = {
  upstream: 'up/str+eam s=cret',
  local: 'lo-cal.s3cret-of-16',
  filed: 'in-a-file',
  store: 'the store: "key"',
};

export async function startWithSecrets(t: Test, logging: string) {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'gcg.ini');
  writeFileSync(join(folder, 'secret'), `${SECRETS.filed}\n`, { mode: 0o600 });
  writeFileSync(
    config,
    `[server]
listen = 127.0.0.1:0
[gateway]
host = 127.0.0.1
protocol = http
port = 9
[credential]
grant_type = client_credentials
client_id = an-id
client_secret_env = UPSTREAM_SECRET
[client.crm]
secret = ${SECRETS.local}
[client.other]
secret_file = ${join(folder, 'secret')}
[store]
encryption_key_env = STORE_KEY
[reauthentication]
refresh_token_wait_max = 1
[logging]
log_format = json
${logging}
`,
    { mode: 0o600 },
  );
  const gateway = await startServe(t, config, { UPSTREAM_SECRET: SECRETS.upstream, STORE_KEY: SECRETS.store });
  const port = Number(new URL(gateway.url).port);
  /** Resolves when the record of the last request is written. */
  const recorded = async (mark: string) => {
    await exchangeRaw(port, `GET /${mark} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    while (!gateway.output().includes(mark)) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  return { ...gateway, port, recorded };
}

/** A request of one call. */
export const get = (target: string, lines = '') =>
  `GET ${target} HTTP/1.1\r\nHost: localhost\r\n${lines}Connection: close\r\n\r\n`;
