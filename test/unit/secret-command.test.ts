// Secrets that a command prints: run once for all, kept, asked for anew when refused, and never told.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { basicAuth, createTokenEndpoint } from '../../src/auth/credentials/token-endpoint.ts';
import { createLiveSecrets } from '../../src/logging/redact/live-secrets.ts';
import { fetchSecret } from '../../src/secret.ts';
import { commandSecret } from '../../src/secret-command.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { createLogRecorder, granted, HOSTS, scriptedTransport } from './auth/fixtures.ts';

/** A vault: prints what its file holds, and notes each run. */
function vault(t: Test, secret: string) {
  const dir = t.testdir({ secret, runs: '' });
  const script = `const f = require('fs'); f.appendFileSync('${join(dir, 'runs')}', '.');
    process.stdout.write(f.readFileSync('${join(dir, 'secret')}'))`;
  return {
    argv: [process.execPath, '-e', script],
    put: (next: string) => writeFileSync(join(dir, 'secret'), next),
    runs: () => readFileSync(join(dir, 'runs'), 'utf8').length,
  };
}

t.test(
  'it runs when the secret is first needed, once for all who ask, and one newline is not part of it',
  async (t) => {
    const { argv, runs } = vault(t, ' the secret \n');
    const [one, two] = [commandSecret(argv), commandSecret(argv)];
    t.equal(runs(), 0);
    t.throws(() => one.read(), { code: 'gateway.credential.unavailable', message: /was not run yet/ });
    const all = await Promise.all([fetchSecret(one), fetchSecret(one), fetchSecret(two)]);
    t.strictSame(new Set(all.map((secret) => secret.reveal())), new Set([' the secret ']));
    t.equal(two.read().reveal(), ' the secret ');
    await fetchSecret(two);
    t.equal(runs(), 1);
    t.notMatch(JSON.stringify([one, String(all[0])]), 'the secret');
  },
);

t.test('asked anew it tells a change by its revision, and a failure leaves what it has', async (t) => {
  const { argv, put, runs } = vault(t, 'secret-number-one');
  const secret = commandSecret(argv);
  const before = secret.revision();
  await secret.renew();
  t.equal(runs(), 0, 'nobody needed it yet');
  await fetchSecret(secret);
  await secret.renew();
  t.equal(secret.revision(), before);
  put('secret-number-two');
  await secret.renew();
  t.not(secret.revision(), before);
  t.equal(secret.read().reveal(), 'secret-number-two');
  put('');
  await t.rejects(secret.renew(), { message: /client_secret_command .*printed nothing/ });
  t.equal((await fetchSecret(secret)).reveal(), 'secret-number-two');
});

t.test('many run at once, and Node has nothing to warn of', async (t) => {
  const warnings: string[] = [];
  const note = ({ name }: Error) => warnings.push(name);
  process.on('warning', note);
  const listeners = process.listenerCount('exit');
  const secrets = Array.from({ length: 12 }, (_, i) => commandSecret(['/bin/sh', '-c', `echo secret-number-${i}`]));
  const fetched = Promise.all(secrets.map(fetchSecret));
  t.equal(process.listenerCount('exit'), listeners + 1);
  t.equal((await fetched)[11]?.reveal(), 'secret-number-11');
  t.equal(process.listenerCount('exit'), listeners);
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  t.same(warnings, []);
});

t.test('every value it prints is masked before anybody is given it', async (t) => {
  const { argv, put } = vault(t, 'canary-of-the-vault-1');
  const live = createLiveSecrets();
  const secret = commandSecret(argv);
  live.configure([secret]);
  await fetchSecret(secret);
  put('canary-of-the-vault-2');
  await secret.refetch();
  t.notMatch(live.mask('it was canary-of-the-vault-1 and is canary-of-the-vault-2'), 'canary');
  t.match(live.mask('canary-of-another-vault'), 'canary', 'the positive control');
});

for (const [what, script, message] of [
  ['fails', 'console.log("canary"); process.exit(3)', /exit code 3/],
  ['prints nothing', 'console.log("")', /printed nothing/],
  ['prints two lines', 'console.log("canary\\ncanary")', /printed more than one line/],
  ['prints without end', 'setInterval(() => process.stdout.write("x".repeat(1e5)), 1)', /printed more than 64 KiB/],
] as const)
  t.test(`a command that ${what} gives no secret, and its output is in no message`, async (t) => {
    const failing = fetchSecret(commandSecret([process.execPath, '-e', script]));
    await t.rejects(failing, { code: 'gateway.credential.unavailable', message });
    t.notMatch(await failing.catch((error: Error) => error.message), 'canary');
  });

t.test('one that is not there, and one that hangs', async (t) => {
  await t.rejects(fetchSecret(commandSecret(['/nowhere/at-all', '--token=canary'])), {
    message: 'client_secret_command /nowhere/at-all cannot be run (ENOENT)',
  });
  const clock = createFakeClock();
  const hanging = fetchSecret(commandSecret([process.execPath, '-e', 'setInterval(() => {}, 1e9)'], { clock }));
  hanging.catch(() => undefined);
  await clock.advance(10_000);
  await t.rejects(hanging, { message: /did not end within 10 s/ });
});

const CALL = { credential: 'crm', grant: 'client_credentials', hosts: HOSTS, form: [] } as const;
const REFUSED = { statusCode: 400, body: { error: 'invalid_client', description: 'authentication failed' } };

t.test('a secret that is refused is asked for anew, and another one tried at once', async (t) => {
  const { argv, put, runs } = vault(t, 'old-secret');
  const log = createLogRecorder();
  const { transport, requests } = scriptedTransport([granted('at-1'), REFUSED, granted('at-2'), REFUSED]);
  const ask = createTokenEndpoint({ transport, clock: createFakeClock(), log, timeoutMs: 4_000 });
  const call = { ...CALL, auth: basicAuth('an-id', commandSecret(argv)) };
  await ask(call);
  put('new-secret');
  t.equal((await ask(call)).token.accessToken.reveal(), 'at-2');
  const shown = requests.map(({ headers }) => Buffer.from((headers.at(-1) ?? '').slice(6), 'base64').toString());
  t.strictSame(shown, ['an-id:old-secret', 'an-id:old-secret', 'an-id:new-secret']);
  t.equal(runs(), 2);
  await t.rejects(ask(call), { kind: 'refused', message: /wrong client secret/ });
  t.equal(requests.length, 4, 'the same secret is not tried twice');
  t.notMatch(JSON.stringify(log), /(old|new)-secret/);
});

t.test('a refusal says what looks wrong with id and secret, and nothing of the secret', async (t) => {
  const uuid = '5a4d0b1e-0001-4000-8000-00000000000f';
  const messageFor = async (id: string, secret: string) => {
    const { transport } = scriptedTransport([REFUSED]);
    const deps = { transport, clock: createFakeClock(), log: createLogRecorder(), timeoutMs: 4_000 };
    const { inlineSecret } = await import('../../src/secret.ts');
    const auth = basicAuth(id, inlineSecret(secret, 'file /run/secret'));
    return createTokenEndpoint(deps)({ ...CALL, auth }).then(String, (error: Error) => error.message);
  };
  t.match(await messageFor(uuid, ' canary \n'), /the secret \(file \/run\/secret\) begins or ends with a blank/);
  t.match(await messageFor('canary', uuid), /the client id and the secret \(file \/run\/secret\) look swapped/);
  t.notMatch(await messageFor(uuid, 'canary'), /blank|swapped|canary/);
});
