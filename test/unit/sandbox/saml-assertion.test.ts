import t from 'tap';
import { readAssertion } from '../../../src/sandbox/token-endpoint.ts';

const NOW = Date.UTC(2026, 0, 1);

function encode(conditions: string, name = 'ada@example.org'): string {
  const xml =
    '<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"><saml:Subject><saml:NameID ' +
    `Format="x">${name}</saml:NameID></saml:Subject><saml:Conditions ${conditions}/></saml:Assertion>`;
  return Buffer.from(xml).toString('base64');
}

t.test('an assertion in its time names its subject', async (t) => {
  t.equal(
    readAssertion(encode('NotBefore="2025-12-31T23:59:00Z" NotOnOrAfter="2026-01-01T00:05:00Z"'), NOW),
    'ada@example.org',
  );
});

for (const [name, assertion] of [
  ['what is not base64', '<Assertion>'],
  ['base64 of something else', Buffer.from('{"hello":1}').toString('base64')],
  ['no NotOnOrAfter', encode('NotBefore="2025-12-31T23:59:00Z"')],
  ['an expired one, to the millisecond', encode('NotOnOrAfter="2026-01-01T00:00:00Z"')],
  ['one of the future', encode('NotBefore="2026-01-01T00:00:01Z" NotOnOrAfter="2026-01-01T00:05:00Z"')],
  ['an unreadable time', encode('NotOnOrAfter="soon"')],
  ['no subject', encode('NotOnOrAfter="2026-01-01T00:05:00Z"', ' ')],
] as const) {
  t.test(`${name} is an invalid grant`, async (t) => {
    t.throws(() => readAssertion(assertion, NOW), { name: 'OAuthError', error: 'invalid_grant' });
  });
}
