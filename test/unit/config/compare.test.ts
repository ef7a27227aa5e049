// When two settings are the same: what a reload takes for unchanged, it keeps running.

import t from 'tap';
import { isSameSetting } from '../../../src/config/gateway-config.ts';
import { CREDENTIAL, good, load, withCredential } from './load-text.ts';

const credentialWith = (extra: string) => good(withCredential(extra)).credentials[0];

t.test('another gateway host is another setting, and so is another region', async (t) => {
  const before = credentialWith('[gateway]\nhost = gw.example.com');
  t.ok(isSameSetting(before, credentialWith('[gateway]\nhost = gw.example.com')));
  t.notOk(isSameSetting(before, credentialWith('[gateway]\nhost = other.example.com')));
  t.notOk(isSameSetting(credentialWith(''), credentialWith('[general]\nhost = mypurecloud.de')));
});

t.test('the line a setting stands on is not part of it', async (t) => {
  const below = good(load({ file: `\n\n${CREDENTIAL}` })).credentials[0];
  t.not(below?.location, credentialWith('')?.location);
  t.ok(isSameSetting(credentialWith(''), below));
});
