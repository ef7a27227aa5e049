import t from 'tap';
import { start } from '../unit/sandbox/harness.ts';

const post = (origin: string, value: unknown, headers: Record<string, string> = {}) =>
  fetch(`${origin}/sandbox/controls`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(value),
  });

t.test('there are no controls unless asked for', async (t) => {
  const { origin, sandbox } = await start(t);
  t.equal((await post(origin, { set: { latencyMs: 1000 } })).status, 404);
  t.equal(sandbox.switches.latencyMs, 0);
});

t.test('switches are set and actions done over HTTP, and the state comes back', async (t) => {
  const { origin, sandbox, token } = await start(t, { controls: true });
  await token();
  const answer = await post(origin, { set: { rotation: 'strict' }, do: ['expireTokens', 'resetStats'] });
  t.equal(answer.status, 200);
  t.match(await answer.json(), { switches: { rotation: 'strict' }, stats: { validTokens: 0, tokenRequestsTotal: 0 } });
  t.equal(sandbox.switches.rotation, 'strict');
  t.match(await (await fetch(`${origin}/sandbox/controls`)).json(), { switches: { rotation: 'strict' } });
});

t.test('what the controls do not know is refused by name, and nothing is set', async (t) => {
  const { origin, sandbox } = await start(t, { controls: true });
  for (const [value, named] of [
    [{ set: { latencyMs: 5, latncy: 5 } }, /latncy/],
    [{ set: { latencyMs: 5, rotation: 'sometimes' } }, /rotation/],
    [{ set: { latencyMs: '5' } }, /latencyMs/],
    [{ set: { tokenLifetimeS: 1e300 } }, /tokenLifetimeS/],
    [{ set: { latencyMs: 5, serverError: { status: 999 } } }, /serverError/],
    [{ set: { latencyMs: 5 }, do: ['explode'] }, /explode/],
    [{ sett: {} }, /sett/],
  ] as const) {
    const answer = await post(origin, value);
    t.equal(answer.status, 400);
    t.match(await answer.json(), { message: named });
  }
  t.equal(sandbox.switches.latencyMs, 0);
});

t.test('a web page may not use the controls', async (t) => {
  const { origin } = await start(t, { controls: true });
  t.equal((await post(origin, {}, { Origin: 'http://evil.example' })).status, 403);
  t.equal((await fetch(`${origin}/sandbox/controls`, { method: 'POST', body: '{}' })).status, 415);
});
