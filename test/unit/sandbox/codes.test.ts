import t from 'tap';
import { createRandomSource } from '../../../src/sandbox/random.ts';
import { createCodeStore, matchesChallenge } from '../../../src/sandbox/tokens.ts';
import { createNow } from './harness.ts';

const grant = { subject: { clientId: 'app', grant: 'pkce' }, redirectUri: 'http://127.0.0.1/cb' };

t.test('a code is taken once, and its second use names the login it led to', async (t) => {
  const codes = createCodeStore(createNow(), createRandomSource('codes'));
  const code = codes.issue(grant);
  t.match(codes.take(code), { kind: 'ok', grant });
  codes.settle(code, 'family');
  t.same(codes.take(code), { kind: 'used', familyId: 'family' });
});

t.test('a code lives five minutes', async (t) => {
  const clock = createNow();
  const codes = createCodeStore(clock, createRandomSource('codes'));
  const [early, late] = [codes.issue(grant), codes.issue(grant)];
  clock.advance(5 * 60_000 - 1);
  t.match(codes.take(early), { kind: 'ok' });
  clock.advance(1);
  t.match(codes.take(late), { kind: 'unknown' });
});

t.test('the example of RFC 7636 matches; other lengths, alphabets and verifiers do not', async (t) => {
  const [verifier, challenge] = [
    'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
  ];
  t.ok(matchesChallenge(verifier, challenge));
  t.notOk(matchesChallenge(`${verifier}x`, challenge));
  t.notOk(matchesChallenge(verifier.slice(1), challenge));
  t.notOk(matchesChallenge(`${verifier.slice(1)}+`, challenge));
});
