// The region: every way people write it, and what they are told when it is none.

import t from 'tap';
import { parseRegion, REGIONS } from '../../../src/config/sections/general.ts';
import { good, load, problems, warnings, withCredential } from './load-text.ts';

const domainOf = (text: string) => {
  const result = parseRegion(text);
  return result.ok ? result.value.domain : result.message;
};

t.test('all eighteen regions are known by domain, by hyphens and by underscores', async (t) => {
  t.equal(Object.keys(REGIONS).length, 18);
  for (const [name, domain] of Object.entries(REGIONS)) {
    for (const text of [
      name,
      name.replaceAll('-', '_'),
      name.toUpperCase(),
      domain,
      `api.${domain}`,
      `https://api.${domain}`,
      `https://api.${domain}/`,
      `http://${domain}//`,
      ` ${domain} `,
    ]) {
      t.strictSame(parseRegion(text), { ok: true, value: { domain, warning: null } }, text);
    }
  }
});

t.test('a word without a dot that is no region is refused with the nearest one', async (t) => {
  t.match(domainOf('eu-centrl-1'), /did you mean "eu-central-1"/);
  t.match(domainOf('ap_south_east_2'), /did you mean/);
  t.match(domainOf('nonsense'), /is not a region; write one like/);
});

t.test('the host of another service is refused with the region alone', async (t) => {
  t.match(domainOf('login.mypurecloud.de'), /write the region alone: mypurecloud\.de/);
  t.match(domainOf('https://apps.mypurecloud.de/directory'), /write the region alone: mypurecloud\.de/);
});

t.test('single machines belong into [gateway]', async (t) => {
  for (const text of ['localhost', 'localhost:8080', 'http://127.0.0.1:8080', '10.0.0.1', '[::1]:8080', '::1'])
    t.match(domainOf(text), /set \[gateway\] host/, text);
});

t.test('paths, queries, user names and odd characters are refused', async (t) => {
  for (const text of [
    'mypurecloud.de/api/v2',
    'mypurecloud.de?x',
    'user@mypurecloud.de',
    'my purecloud.de',
    '-x.de',
    'ä.de',
    'x.de:99999',
  ])
    t.equal(parseRegion(text).ok, false, text);
});

t.test('an unlisted domain is used as it is, with a warning', async (t) => {
  const result = withCredential('[general]\nhost = api.genesys.example:8443');
  t.match(good(result).general.hosts, {
    domain: 'genesys.example:8443',
    api: { origin: 'https://api.genesys.example:8443' },
  });
  t.match(warnings(result), [/^gcg\.ini:5: general\.host: .*not one of the known regions/]);
  t.match(
    warnings(withCredential('[general]\nhost = apne4.pure.cloud')),
    [/did you mean "apne\d\.pure\.cloud"/],
    'a region of Genesys that is newer than this program',
  );
});

t.test('a misspelt region is refused, because whoever owns it would be sent the secret', async (t) => {
  const misspelt = '[general]\nhost = mypurecloud.dee\n';
  const refusal =
    /^gcg\.ini:5: general\.host: "mypurecloud\.dee" .* your secrets would be sent there; did you mean "mypurecloud\.de"/;
  t.match(problems(withCredential(misspelt)), [refusal]);
  t.match(problems(withCredential('[credential.crm]\nclient_id = x\nclient_secret = y\nhost = mypurecloud.co\n')), [
    /^gcg\.ini:7: credential\.crm\.host: "mypurecloud\.co" is not a known region/,
  ]);
  t.match(warnings(withCredential(`${misspelt}unsafe_unlisted_host = true\n`)), [/not one of the known regions/]);
  t.match(warnings(withCredential(`${misspelt}[gateway]\nhost = gw.example`)), [/not one of the known regions/]);
});

t.test('the hosts of a region are its api, login and streaming hosts', async (t) => {
  t.strictSame(good(load({ set: ['general.host=mypurecloud.ie'] })).general.hosts, {
    domain: 'mypurecloud.ie',
    api: { origin: 'https://api.mypurecloud.ie', pathPrefix: '' },
    login: { origin: 'https://login.mypurecloud.ie', pathPrefix: '' },
    streaming: { origin: 'wss://streaming.mypurecloud.ie', pathPrefix: '' },
  });
});

t.test('a credential can be in a region of its own', async (t) => {
  const { credentials } = good(
    withCredential('[credential.crm]\nclient_id = x\nclient_secret = y\nhost = eu_west_1\n'),
  );
  t.match(credentials, [
    { name: 'default', hosts: { domain: 'mypurecloud.com' } },
    { name: 'crm', hosts: { domain: 'mypurecloud.ie' } },
  ]);
  t.match(problems(withCredential('[credential.crm]\nclient_id = x\nclient_secret = y\nhost = nowhere\n')), [
    /^gcg\.ini:7: credential\.crm\.host: "nowhere"/,
  ]);
});
