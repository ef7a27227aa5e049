// Whatever the nesting and the spelling, a labelled secret does not survive redaction, and what is no secret does.

import fc from 'fast-check';
import t from 'tap';
import { createBodyCapture } from '../../../src/logging/body-capture.ts';
import { redactHeaders, redactParams, redactTarget } from '../../../src/logging/redact/redact.ts';
import { redactText } from '../../../src/logging/redact/text.ts';
import { redactValue } from '../../../src/logging/redact/value.ts';

const SECRET_NAMES = [
  'access_token',
  'refresh_token',
  'client_secret',
  'code_verifier',
  'assertion',
  'password',
  'id_token',
  'token',
  'SAMLResponse',
  'api_key',
  'accessToken',
  'clientSecret',
];
const PARAM_NAMES = [...SECRET_NAMES, 'code', 'key', 'signature', 'handle'];

const canary = fc.stringMatching(/^[A-Z][A-Za-z0-9_-]{18,40}[0-9]$/);
const control = fc.stringMatching(/^plain[a-z]{12,20}$/);

/** The same name as another writer would spell it. */
const spelled = (names: string[]) =>
  fc.tuple(fc.constantFrom(...names), fc.constantFrom('as is', 'upper', 'lower', 'dashed')).map(([name, how]) => {
    if (how === 'upper') return name.toUpperCase();
    if (how === 'lower') return name.toLowerCase();
    return how === 'dashed' ? name.replaceAll('_', '-') : name;
  });

const percentEncoded = (text: string, every: number) =>
  [...text]
    .map((char, at) => (at % every === 0 ? `%${char.charCodeAt(0).toString(16).padStart(2, '0')}` : char))
    .join('');
const unicodeEscaped = (json: string, name: string) =>
  json.replaceAll(name, [...name].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''));

const capture = (text: string, contentType: string, maxBytes = 65536): string => {
  const body = createBodyCapture({ maxBytes, contentType, contentEncoding: null });
  body.write(Buffer.from(text));
  const shown = body.render();
  return typeof shown === 'string' ? shown : JSON.stringify(shown);
};

/** Puts a leaf somewhere inside objects, arrays and strings that hold JSON. */
const nest = (leaf: unknown, path: string[]): unknown =>
  path.reduce((inner, how) => {
    if (how === 'array') return [1, inner, 'x'];
    if (how === 'string') return JSON.stringify(inner);
    if (how === 'form string') return { note: `a=1&inner=${encodeURIComponent(JSON.stringify(inner))}&b=2` };
    return { [how]: inner, other: 1 };
  }, leaf);
const path = fc.array(fc.constantFrom('array', 'string', 'data', 'entities', 'form string'), { maxLength: 5 });

t.test('a query never shows a secret parameter, however its name is written and its value nested', async (t) => {
  fc.assert(
    fc.property(
      spelled(PARAM_NAMES),
      canary,
      control,
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom('', '[]', '[0]'),
      (name, secret, plain, every, layers, suffix) => {
        let inner = `${percentEncoded(name, every)}${suffix}=${secret}&pageSize=${plain}`;
        for (let layer = 0; layer < layers; layer++)
          inner = `next=${encodeURIComponent(`https://h/x?${inner}`)}&sortBy=${plain}`;
        for (const shown of [
          redactTarget(`/api/v2/users?a=1&${inner}`),
          redactTarget(`/x#${inner}`),
          redactParams(inner),
          redactText(`see https://h/x?${inner} please`),
        ]) {
          if (shown.includes(secret)) return false;
          if (!shown.includes(plain)) return false;
        }
        return true;
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});

t.test(
  'a JSON body never shows a secret field at any depth, nor inside strings, and keeps its other fields',
  async (t) => {
    fc.assert(
      fc.property(spelled(SECRET_NAMES), canary, control, path, fc.boolean(), (name, secret, plain, how, isEscaped) => {
        const body = {
          keep: plain,
          found: nest({ [name]: secret, [`${name}s`]: [secret], deep: { [name]: { value: secret } } }, how),
        };
        const json = JSON.stringify(body);
        const shown = capture(isEscaped ? unicodeEscaped(json, name) : json, 'application/json');
        const direct = JSON.stringify(redactValue(body));
        return !shown.includes(secret) && shown.includes(plain) && !direct.includes(secret) && direct.includes(plain);
      }),
      { numRuns: 500 },
    );
    t.pass();
  },
);

t.test('a JSON body cut anywhere shows no part of a secret and keeps what stood before', async (t) => {
  fc.assert(
    fc.property(
      spelled(SECRET_NAMES),
      canary,
      control,
      path,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (name, secret, plain, how, where) => {
        const json = JSON.stringify({ keep: plain, x: 1, found: nest({ [name]: secret }, how), tail: 'x'.repeat(50) });
        const least = plain.length + 14;
        const shown = capture(json, 'application/json', least + Math.floor(where * (json.length - least - 1)));
        return (
          !shown.includes(secret.slice(0, 8)) && shown.includes(plain) && /\[cut at \d+ bytes of \d+\]$/.test(shown)
        );
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});

t.test('a form never shows a secret field, whole or cut, whatever the content type claims', async (t) => {
  fc.assert(
    fc.property(
      spelled(PARAM_NAMES),
      canary,
      control,
      fc.constantFrom('application/x-www-form-urlencoded', 'application/json', ''),
      fc.boolean(),
      (name, secret, plain, type, isCut) => {
        const form = `keep=${plain}&grant_type=authorization_code&x=1&${name}=${secret}&z=1`;
        const isParam = type === 'application/x-www-form-urlencoded' || name.length > 9 || /token|password/i.test(name);
        const shown = capture(form, type, isCut ? form.length - 6 : 1000);
        return (!isParam || !shown.includes(secret.slice(0, 8))) && shown.includes(plain);
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('text never shows what is labelled or shaped as a secret', async (t) => {
  const frames = [
    (name: string, secret: string) => `${name}: ${secret}`,
    (name: string, secret: string) => `${name} = "${secret} and ${secret}"`,
    (name: string, secret: string) => `error {"a":1,"${name}":"${secret}"`,
    (name: string, secret: string) => `error {\\"a\\":1,\\"${name}\\":\\"${secret}\\"}`,
    (name: string, secret: string) => `<${name}>${secret}</${name}>`,
    (_: string, secret: string) => `Authorization: Bearer ${secret}\r\nAccept: x`,
    (_: string, secret: string) => `sent bearer ${secret} to them`,
    (_: string, secret: string) =>
      `Basic ${Buffer.from(`id:${secret}`).toString('base64')} ${secret === '' ? '' : `gcgh_${secret}`}`,
    (_: string, secret: string) => `eyJhbGciOiJIUzI1NiJ9.${secret}.${secret}`,
    (_: string, secret: string) => `proxy http://user:${secret}@proxy:3128/ refused`,
    (_: string, secret: string) => `wss://streaming.mypurecloud.de/channels/${secret}`,
    (_: string, secret: string) => `Cookie: a=1; session=${secret}`,
  ];
  fc.assert(
    fc.property(fc.constantFrom(...frames), spelled(SECRET_NAMES), canary, control, (frame, name, secret, plain) => {
      const shown = redactText(`${plain} before\n${frame(name, secret)}\n${plain} after`);
      return (
        !shown.includes(secret) && shown.startsWith(plain) && (shown.endsWith(`${plain} after`) || frame === frames[2])
      );
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

t.test('headers never show credentials, whatever the spelling, and do show the rest', async (t) => {
  const names = [
    'Authorization',
    'proxy-authorization',
    'COOKIE',
    'set-cookie',
    'X-Gateway-Key',
    'x_gateway_key',
    'Proxy_Authorization',
    'X-Api-Key',
    'X-Amz-Security-Token',
    'Client-Secret',
    'Sec-WebSocket-Protocol',
  ];
  fc.assert(
    fc.property(fc.constantFrom(...names), canary, control, (name, secret, plain) => {
      const shown = JSON.stringify([
        redactHeaders([
          'Accept',
          plain,
          name,
          secret,
          name,
          `Bearer ${secret}`,
          'Location',
          `/cb?code=${secret}&x=${plain}`,
        ]),
        redactHeaders([Buffer.from(name), Buffer.from(secret)]),
        redactHeaders({ [name]: [secret, secret], accept: plain, referer: `https://h/#access_token=${secret}` }),
      ]);
      return !shown.includes(secret) && shown.split(plain).length === 4;
    }),
  );
  t.pass();
});
