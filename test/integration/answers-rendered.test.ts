// Answers of the upstream that a browser would render or run go out in a sandbox; all others as they came. What a page
// asks for to run or to frame it is not asked of the upstream at all.

import t from 'tap';
import { isHead, ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw, parseAnswer, type RawAnswer } from '../helpers/raw-http.ts';

let answer = ok('{}');
const pair = await startBefore(t, (socket) => socket.write(Buffer.from(answer, 'latin1')), {
  server: { corsOrigins: ['https://app.corp'] },
});
t.beforeEach(() => void pair.requests.splice(0));

const call = async (lines: readonly string[] = [], start = 'GET /api/v2/users'): Promise<RawAnswer> => {
  const text = `${[`${start} HTTP/1.1`, `Host: localhost:${pair.port}`, ...lines].join('\r\n')}\r\n\r\n`;
  return parseAnswer(await exchangeRaw(pair.port, text, start.startsWith('HEAD') ? isHead : undefined));
};
const valuesOf = ({ headers }: RawAnswer, name: string) =>
  headers.filter(([field]) => field.toLowerCase() === name).map(([, value]) => value);
const ownValues = (of: RawAnswer) => [valuesOf(of, 'content-security-policy'), valuesOf(of, 'x-content-type-options')];

const RENDERED: Record<string, readonly string[]> = {
  HTML: ['Content-Type: text/html'],
  'HTML with a charset, in capitals': ['CONTENT-TYPE: TEXT/HTML ; charset=utf-8'],
  XHTML: ['Content-Type: application/xhtml+xml'],
  XML: ['Content-Type: application/xml'],
  'XML as text': ['Content-Type: text/xml;charset=utf-8'],
  'any other XML': ['Content-Type: application/vnd.anything+xml'],
  XSLT: ['Content-Type: text/xsl'],
  SVG: ['Content-Type: image/svg+xml'],
  JavaScript: ['Content-Type: text/javascript'],
  'JavaScript by its old name': ['Content-Type: application/x-javascript'],
  ECMAScript: ['Content-Type: application/ecmascript'],
  JScript: ['Content-Type: text/jscript'],
  LiveScript: ['Content-Type: text/livescript'],
  'JavaScript of a version': ['Content-Type: text/javascript1.5'],
  'several parts': ['Content-Type: multipart/x-mixed-replace; boundary=x'],
  'a page with its parts': ['Content-Type: multipart/related'],
  'a message': ['Content-Type: message/rfc822'],
  'no type': [],
  'an empty type': ['Content-Type:'],
  'a type that is none': ['Content-Type: html'],
  'a type of which browsers guess': ['Content-Type: application/unknown'],
  'another of them': ['Content-Type: unknown/unknown'],
  'any type': ['Content-Type: */*'],
  'two types in one line': ['Content-Type: application/json, text/html'],
  'two lines': ['Content-Type: application/json', 'Content-Type: text/html'],
  'two lines, the other way': ['Content-Type: text/html', 'Content-Type: application/json'],
  'a parameter that hides another type': ['Content-Type: application/json;a="b, text/html'],
  'a type that Connection takes away': ['Content-Type: application/json', 'Connection: content-type'],
  'a blank that is none': ['Content-Type: application/json\xa0'],
  'a policy of its own': [
    'Content-Type: text/html',
    'Content-Security-Policy: sandbox allow-scripts allow-same-origin',
  ],
  'a policy for reports': ['Content-Type: text/html', 'content-security-policy-report-only: sandbox'],
  'other options': ['Content-Type: text/html', 'X-Content-Type-Options: none', 'x-content-type-options: sniff'],
};

t.test('what a browser would render or run goes out in a sandbox', async (t) => {
  for (const [what, lines] of Object.entries(RENDERED)) {
    for (const status of ['200 OK', '404 Not Found', '500 X', '302 Found']) {
      answer = ok('<script>', lines).replace('200 OK', status);
      const [policies, options] = ownValues(await call());
      t.equal(policies?.at(-1), 'sandbox', `${what} ${status}: the last policy counts`);
      t.strictSame(options, ['nosniff'], `${what} ${status}`);
    }
  }
  answer = 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n';
  t.strictSame(ownValues(await call([], 'HEAD /api/v2/users')), [['sandbox'], ['nosniff']], 'HEAD as GET');
});

t.test(
  'what a browser puts in the place of the fields of an answer that it keeps goes out in a sandbox, whatever type ' +
    'it names',
  async (t) => {
    for (const status of ['304 Not Modified', '206 Partial Content']) {
      for (const lines of [
        [],
        ['Content-Type: application/json'],
        ['Content-Type: application/json', "Content-Security-Policy: script-src 'unsafe-inline'"],
      ]) {
        const head = [
          `HTTP/1.1 ${status}`,
          'ETag: "1"',
          'Content-Range: bytes 0-1/9',
          'X-Content-Type-Options: off',
          'Content-Length: 2',
          ...lines,
        ];
        answer = `${head.join('\r\n')}\r\n\r\n${status.startsWith('206') ? '{}' : ''}`;
        const text = `GET /api/v2/users HTTP/1.1\r\nHost: localhost:${pair.port}\r\nIf-None-Match: "1"\r\n\r\n`;
        const [policies, options] = ownValues(
          parseAnswer(await exchangeRaw(pair.port, text, status.startsWith('304') ? isHead : undefined)),
        );
        t.equal(policies?.at(-1), 'sandbox', `${status} ${lines}`);
        t.strictSame(options, ['nosniff'], `${status} ${lines}`);
      }
    }
  },
);

const UNTOUCHED: Record<string, readonly string[]> = {
  JSON: ['Content-Type: application/json'],
  'JSON in capitals, with a charset': ['CONTENT-type: Application/JSON;charset=UTF-8'],
  'other JSON': ['Content-Type: application/problem+json'],
  'JSON with options of its own': ['Content-Type: application/json', 'X-Content-Type-Options: nosniff'],
  text: ['Content-Type: text/plain; charset="utf-8"'],
  CSV: ['Content-Type: text/csv'],
  events: ['Content-Type: text/event-stream'],
  octets: ['Content-Type: application/octet-stream'],
  PDF: ['Content-Type: application/pdf'],
  a_picture: ['Content-Type: image/png'],
  a_recording: ['Content-Type: audio/ogg; codecs=opus'],
  'what only programs know': ['Content-Type: application/vnd.genesys.thing'],
};

t.test('all else goes out as it came', async (t) => {
  for (const [what, lines] of Object.entries(UNTOUCHED)) {
    answer = ok('{}', lines);
    const { headers } = await call();
    const passed = headers.filter(
      ([name]) => !/^(connection|keep-alive|x-gateway-request-id|content-length)$/i.test(name),
    );
    t.strictSame(
      passed.map(([name, value]) => `${name}: ${value}`),
      lines,
      what,
    );
  }
  for (const empty of ['HTTP/1.1 204 No Content\r\n\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n']) {
    answer = empty;
    t.strictSame(ownValues(await call()), [[], []], `nothing to render: ${empty.slice(9, 12)}`);
  }
});

t.test('a page may fetch what the API answers, and see and hear it; it may not run, frame or embed it', async (t) => {
  answer = ok('{}', ['Content-Type: application/json']);
  const own = [`Origin: http://localhost:${pair.port}`, 'Sec-Fetch-Site: same-origin'];
  const listed = ['Origin: https://app.corp', 'Sec-Fetch-Site: cross-site'];
  const running = ['script', 'worker', 'sharedworker', 'serviceworker', 'audioworklet', 'paintworklet', 'xslt'];
  const framing = ['frame', 'iframe', 'fencedframe', 'object', 'embed'];
  for (const who of [own, listed, ['Sec-Fetch-Site: same-origin'], ['Sec-Fetch-Site: none'], []]) {
    for (const start of ['GET /api/v2/users', 'GET /default/api/v2/users', 'POST /api/api/v2/users']) {
      for (const destination of [...running, ...framing, 'SCRIPT']) {
        const { status, headers } = await call([...who, `Sec-Fetch-Dest: ${destination}`, 'Content-Length: 0'], start);
        t.match(
          [status, headers.find(([name]) => name === 'X-Gateway-Error')?.[1]],
          [403, 'gateway.origin.forbidden'],
          `${start} ${destination}`,
        );
      }
    }
  }
  t.equal((await call(['Service-Worker: script'])).status, 403, 'an older browser');
  t.strictSame(pair.requests, [], 'nothing of it went up');
  for (const who of [own, listed, []]) {
    for (const destination of ['empty', 'audio', 'image', 'video', 'document']) {
      t.equal((await call([...who, `Sec-Fetch-Dest: ${destination}`])).status, 200, destination);
    }
  }
});

t.test(
  'what an answer says to the browser about our origin does not pass, nor does a question for a password',
  async (t) => {
    const lines = [
      'Clear-Site-Data: "*"',
      'Service-Worker-Allowed: /',
      'NEL: {}',
      'Report-To: {}',
      'Reporting-Endpoints: a="https://evil.test"',
      'WWW-Authenticate: Basic realm="gateway"',
      'www-authenticate: Negotiate',
      'WWW-Authenticate: Bearer realm="x", basic realm="y"',
    ];
    answer = ok('{}', [
      'Content-Type: application/json',
      ...lines,
      'WWW-Authenticate: Bearer realm="x"',
      'Link: <a>',
    ]).replace('200 OK', '401 No');
    const { status, headers } = await call();
    t.equal(status, 401);
    const passed = headers.filter(
      ([name]) => !/^(connection|keep-alive|x-gateway-request-id|content-length)$/i.test(name),
    );
    t.strictSame(passed, [
      ['Content-Type', 'application/json'],
      ['WWW-Authenticate', 'Bearer realm="x"'],
      ['Link', '<a>'],
    ]);
  },
);
