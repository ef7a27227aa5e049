// A client secret from a command, in a gateway as users run it: rotated in the vault, with SIGHUP and without.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { addressOf, startCommand } from '../helpers/command.ts';
import { gatewaySection } from '../helpers/commands.ts';

const ID = '5a4d0b1e-0001-4000-8000-000000000001';

t.test(
  'a secret that is rotated in the vault is found when the old one is refused, and none is in the log',
  async (t) => {
    const clients = [{ id: ID, name: 'rotated', secret: 'canary-secret-1', grants: ['client_credentials'] as const }];
    const sandbox = createSandbox({ clients });
    const { origin } = await sandbox.listen();
    t.teardown(() => sandbox.close());
    const dir = t.testdir({ secret: 'canary-secret-1\n', runs: '' });
    const vault = `const f = require('fs'); f.appendFileSync('runs', '.'); console.log(f.readFileSync('secret', 'utf8').trim())`;
    writeFileSync(join(dir, 'vault.cjs'), vault);
    const runs = () => readFileSync(join(dir, 'runs'), 'utf8').length;
    const ini = `[server]
listen = 127.0.0.1:0
[logging]
log_level = trace
log_format = json
${gatewaySection(origin)}[credential]
client_id = ${ID}
client_secret_command[] = ${process.execPath}
client_secret_command[] = vault.cjs
`;
    writeFileSync(join(dir, 'gcg.ini'), ini, { mode: 0o600 });
    const check = startCommand(t, ['check'], { cwd: dir });
    t.equal(await check.ended, 0);
    t.equal(runs(), 0, 'check opens nothing and runs nothing');

    const gateway = startCommand(t, ['serve'], { cwd: dir });
    await gateway.until('"toToken":"fresh"');
    const url = addressOf(gateway.stdout());
    const call = () => fetch(`${url}/api/v2/users/?note=canary-secret-1`).then((answer) => answer.status);
    t.equal(runs(), 1);

    gateway.child.kill('SIGHUP');
    await gateway.until('configuration reloaded');
    while (runs() < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    t.equal(sandbox.stats.tokensIssued, 1, 'the same secret asks for no token');

    clients[0]!.secret = 'canary-secret-2';
    writeFileSync(join(dir, 'secret'), 'canary-secret-2\n');
    sandbox.expireTokens();
    await call();
    t.equal(await call(), 404, 'no such route there, and a good token');
    t.equal(sandbox.stats.tokensIssued, 2);
    t.equal(runs(), 3);

    gateway.child.kill('SIGTERM');
    t.equal(await gateway.ended, 0);
    t.notMatch(gateway.stdout() + gateway.stderr(), 'canary-secret');
    t.match(gateway.stdout(), 'note=', 'the positive control: the call itself is there');
  },
);
