// The end in the middle of a renewal: a refresh token that the platform has already rotated is heard of and stored
// before the process goes.

import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { inlineSecret } from '../../src/secret.ts';
import { configAt, credentialAt, startGatewayWith, stateFolder } from '../helpers/gateway.ts';
import { startRawUpstream } from '../helpers/raw-http.ts';

/** A platform that knows only the newest refresh token, and answers a token request when it is told to. */
async function startRotating(t: Test) {
  let newest = 'rt-0';
  const asked: ((answer: () => void) => void)[] = [];
  const upstream = await startRawUpstream(t, (socket, request) => {
    const shown = new URLSearchParams(request.slice(request.indexOf('\r\n\r\n') + 4)).get('refresh_token');
    const isGood = shown === newest;
    if (isGood) newest = `rt-${upstream.requests.length}`;
    const fields = isGood
      ? { access_token: `at-${newest}`, expires_in: 3600, refresh_token: newest }
      : { error: 'invalid_grant' };
    const body = JSON.stringify(fields);
    const answer = () =>
      socket.write(`HTTP/1.1 ${isGood ? 200 : 400} x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const heard = asked.shift();
    if (heard) heard(answer);
    else answer();
  });
  return { origin: upstream.origin, held: () => new Promise<() => void>((resolve) => asked.push(resolve)) };
}

t.test('a refresh that is under way is waited for, and the next gateway goes on with what it brought', async (t) => {
  const { origin, held } = await startRotating(t);
  const config = configAt(origin, {
    credentials: [
      credentialAt(origin, { grantType: 'pkce', clientSecret: null, refreshToken: inlineSecret('rt-0', 'test') }),
    ],
    store: { type: 'file', path: stateFolder(t) },
  });
  const asked = held();
  const first = await startGatewayWith(t, config);
  const answer = await asked;
  const drained = first.gateway.drain();
  await new Promise((resolve) => setImmediate(resolve));
  answer();
  await drained;

  const second = await startGatewayWith(t, config);
  const source = second.gateway.runtime().credentials.default()?.source;
  t.equal((await source?.token())?.accessToken.reveal(), 'at-rt-1', 'it was stored');
  t.equal(
    (await source?.refresh())?.accessToken.reveal(),
    'at-rt-2',
    'renewed with the refresh token that came at the last moment',
  );
});

t.test('an endpoint that never answers does not hold up the end for longer than drain_timeout', async (t) => {
  const { origin, held } = await startRotating(t);
  const config = configAt(origin, {
    credentials: [
      credentialAt(origin, { grantType: 'pkce', clientSecret: null, refreshToken: inlineSecret('rt-0', 'test') }),
    ],
    server: { drainTimeoutMs: 50 },
    timeouts: { tokenMs: 3_600_000 },
  });
  const asked = held();
  const { gateway } = await startGatewayWith(t, config);
  await asked;
  await gateway.drain();
  t.pass('it ended');
});

t.test('a refresh token that could not be written is written at the end, when the store works again', async (t) => {
  const { origin } = await startRotating(t);
  const path = stateFolder(t);
  const config = configAt(origin, {
    credentials: [
      credentialAt(origin, { grantType: 'pkce', clientSecret: null, refreshToken: inlineSecret('rt-0', 'test') }),
    ],
    store: { type: 'file', path },
  });
  const first = await startGatewayWith(t, config);
  const source = first.gateway.runtime().credentials.default()?.source;
  await source?.token();
  const aside = `${path}-aside`;
  renameSync(path, aside);
  writeFileSync(path, 'no folder any more');
  t.equal((await source?.refresh())?.accessToken.reveal(), 'at-rt-2');
  unlinkSync(path);
  renameSync(aside, path);
  await first.gateway.drain();

  const second = await startGatewayWith(t, config);
  t.equal((await second.gateway.runtime().credentials.default()?.source.token())?.accessToken.reveal(), 'at-rt-2');
});
