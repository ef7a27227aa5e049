// Logins, channels and assertions at several instances of one gateway; and that nothing of them can be read in Redis.

import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { DEFAULT_ORGANIZATION } from '../../src/sandbox/directory.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { inlineSecret } from '../../src/secret.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { change, createCookieJar } from '../helpers/admin.ts';
import { createCanaries } from '../helpers/canary.ts';
import {
  allCredentials,
  assertionFor,
  clientNamed,
  credentialOf,
  followLogin,
  layWire,
  postToken,
} from '../helpers/clients.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { outcomeAt, untilOutcome } from '../helpers/instances.ts';
import { startRedis, withoutRedis } from '../helpers/redis-process.ts';
import { redisStore } from '../helpers/redis-store.ts';
import { watchRedis } from '../helpers/redis-watch.ts';
import { makeChannel, openWebSocket, refusalOf } from '../helpers/sockets.ts';

const PERSON = 'ada.lindqvist@simulated-org.example';
const ENCRYPTION_KEY = 'k'.repeat(43);

/** Three instances whose way to the platform is watched, and their Redis. */
async function startThree(t: Test) {
  const redis = await startRedis(t);
  const watch = await watchRedis(t, redis);
  const sandbox = createSandbox({ switches: { rotation: 'strict', login: { approve: PERSON } } });
  const { port } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const wire = await layWire(t, port);
  const bridge = { orgName: DEFAULT_ORGANIZATION.name, grantType: 'saml2_bearer' as const };
  const config = configAt(wire.url, {
    credentials: allCredentials(wire.url).map((one) =>
      one.name === 'bridge' ? credentialOf(wire.url, 'bridge', DEMO_CLIENTS.saml2Bearer, bridge) : one,
    ),
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    clients: [
      clientNamed('portal', { credentials: ['web', 'default', 'desktop', 'bridge'], isAdmin: true }),
      clientNamed('quiet-client-name', { credentials: ['default'] }),
    ],
  });
  const start = () =>
    startGatewayWith(t, {
      ...config,
      store: redisStore(redis.url, { encryptionKey: inlineSecret(ENCRYPTION_KEY, 'test') }),
    });
  return { redis, watch, sandbox, wire, instances: [await start(), await start(), await start()] as const };
}

const PROOF = { 'X-Gateway-Key': 'portal-secret' };
const elsewhere = (location: string, url: string) => location.replace(new URL(location).origin, url);

/** The values of fields that are secrets, wherever they passed. */
function secretsOn(text: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const note = (kind: string, value = '') => {
    if (value.length >= 16) found.set(kind, (found.get(kind) ?? new Set()).add(decodeURIComponent(value)));
  };
  for (const [, kind = '', value] of text.matchAll(
    /[?&#]?\b(code|code_verifier|refresh_token|access_token|assertion)=([^&\s"#]+)/g,
  ))
    note(kind, value);
  for (const [, kind = '', value] of text.matchAll(/"(access_token|refresh_token)":"([^"]+)"/g)) note(kind, value);
  return found;
}

/** The secrets of which something can be read in a text, in any encoding. */
function leaks(text: string, secrets: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const lower = text.toLowerCase();
  const isIn = (value: string) => {
    const bytes = Buffer.from(value);
    const shifted = [0, 1, 2].map((offset) => Buffer.concat([Buffer.alloc(offset), bytes]));
    const forms = [value, value.slice(0, 20), [...value].reverse().join(''), encodeURIComponent(value)];
    for (const [offset, one] of shifted.entries())
      for (const encoding of ['base64', 'base64url'] as const)
        forms.push(one.toString(encoding).slice(offset === 0 ? 0 : 4, Math.floor(one.length / 3) * 4));
    return forms.some((form) => form.length >= 12 && text.includes(form)) || lower.includes(bytes.toString('hex'));
  };
  return [...secrets].filter(([, values]) => [...values].some(isIn)).map(([kind]) => kind);
}

t.test('a whole run over three instances, and nothing secret in Redis', { skip: withoutRedis }, async (t) => {
  const { watch, sandbox, wire, instances } = await startThree(t);
  const [a, b, c] = instances;
  const locations: string[] = [];

  // Begun at A, the callback at B, loaded again at C: redeemed once.
  for (const name of ['desktop', 'web']) {
    const { tokensIssued } = sandbox.stats;
    const begun = (await (await change(`${a.url}/-/login/${name}`, '', PROOF)).json()) as { url: string };
    const again = (await (await change(`${b.url}/-/login/${name}`, '', PROOF)).json()) as { url: string };
    const { location } = await createCookieJar().get(begun.url);
    locations.push(location, begun.url, again.url);
    const loads = await Promise.all([fetch(elsewhere(location, b.url)), fetch(elsewhere(location, c.url))]);
    loads.push(await fetch(elsewhere(location, a.url)));
    for (const load of loads) t.match(await load.text(), /You are logged in/, name);
    t.equal(sandbox.stats.tokensIssued, tokensIssued + 1, 'the code is redeemed once');
    for (const { url } of instances) {
      const ask = () => outcomeAt(url, PROOF, `/${name}/api/v2/users/me`);
      if (name === 'web') t.equal((await untilOutcome<unknown>(200, 3_000, ask)).outcome, 200, `${name} at ${url}`);
      const isTold = async () => {
        const { credentials } = (await (await fetch(`${url}/-/status`, { headers: PROOF })).json()) as StatusDocument;
        return typeof credentials.find((one) => one.name === name)?.login?.completedAt === 'string';
      };
      t.ok((await untilOutcome(true, 3_000, isTold)).outcome, `${url} tells that somebody has logged in`);
    }
  }

  // An application's users, its handles, and channels.
  const query = new URLSearchParams({
    client_id: 'portal',
    redirect_uri: 'http://localhost:7777/callback',
    response_type: 'code',
  });
  const { code } = await followLogin(`${a.url}/web/oauth/authorize?${query}`);
  const form = {
    grant_type: 'authorization_code',
    code,
    redirect_uri: 'http://localhost:7777/callback',
    client_id: 'portal',
    client_secret: 'portal-secret',
  };
  const session = (await postToken(`${a.url}/web/oauth/token`, form)).body;
  const mine = { authorization: `Bearer ${session.access_token}` };
  t.equal(await outcomeAt(b.url, mine), 200, 'a session opened at A, at B');
  const refresh = {
    grant_type: 'refresh_token',
    refresh_token: session.refresh_token as string,
    client_id: 'portal',
    client_secret: 'portal-secret',
  };
  const refreshed = await postToken(`${c.url}/web/oauth/token`, refresh);
  t.match([refreshed.status, refreshed.body.access_token], [200, session.access_token], 'refreshed at C');
  sandbox.expireTokens();
  const crowd = await Promise.all(instances.flatMap(({ url }) => [outcomeAt(url, mine), outcomeAt(url, mine)]));
  t.same(new Set(crowd), new Set([200]), 'all renew together');
  t.equal(sandbox.stats.refreshReuse, 0);
  const basic = {
    grant_type: 'client_credentials',
    client_id: 'quiet-client-name',
    client_secret: 'quiet-client-name-secret',
  };
  const handle = (await postToken(b.url, basic)).body.access_token;
  t.equal(await outcomeAt(c.url, { authorization: `Bearer ${handle}` }, '/api/v2/users'), 200);
  const channel = await makeChannel(a.url, mine);
  const uri = channel.connectUri.replace(/^wss?:\/\/[^/]+/, b.url.replace('http', 'ws'));
  await openWebSocket(t, uri);
  t.match(await refusalOf(uri.replace(/\?.*/, '')), { status: 401 }, 'without its token it opens for nobody');
  const listed = await fetch(`${c.url}/api/v2/notifications/channels`, { headers: mine });
  t.match(
    await listed.text(),
    new RegExp(channel.connectUri.split('token=')[1] as string),
    'its address is the same at C',
  );

  // An assertion posted to A serves C.
  const assertion = assertionFor(PERSON);
  t.equal((await change(`${a.url}/-/credentials/bridge/assertion`, assertion, PROOF)).status, 200);
  t.equal((await change(`${c.url}/-/credentials/bridge/refresh`, undefined, PROOF)).status, 200);
  await fetch(`${c.url}/api/v2/tokens/me`, { method: 'DELETE', headers: { authorization: `Bearer ${handle}` } });

  const seen = `${watch.commands()}\n${await watch.dump()}`;
  const secrets = secretsOn([wire.text(), ...locations].join('\n'));
  for (const kind of ['code', 'code_verifier', 'refresh_token', 'access_token', 'assertion'])
    t.ok(secrets.has(kind), `${kind} was seen on the wire`);
  const own = {
    handles: [session.access_token, session.refresh_token as string, handle],
    'local secrets': ['portal-secret', 'quiet-client-name-secret', ENCRYPTION_KEY],
    states: locations.map((one) => new URL(one).searchParams.get('state') as string),
    channels: [channel.id, channel.connectUri.split('token=')[1] as string],
    names: ['quiet-client-name'],
  };
  for (const [kind, values] of Object.entries(own)) secrets.set(kind, new Set(values));
  t.same(leaks(seen, secrets), [], 'in no command and no key');
  for (const kind of ['login:', 'chan:', 'idx:sess', 'idx:chan', 'tok:session-', 'tok:gateway-handle-key'])
    t.match(seen, `{gcg}:${kind}`, `${kind} was there`);
  // The controls: each would be found.
  const written = {
    raw: (value: string) => value,
    hex: (value: string) => Buffer.from(value).toString('hex').toUpperCase(),
    base64: (value: string) => Buffer.from(`x${value}`).toString('base64'),
  };
  for (const [how, write] of Object.entries(written))
    for (const [kind, values] of secrets)
      for (const value of values)
        t.same(leaks(`${seen.slice(0, 1000)}${write(value)}`, new Map([[kind, new Set([value])]])), [kind], how);
  t.same(createCanaries().scan(seen), []);
});
