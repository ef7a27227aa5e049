import t from 'tap';
import { CREDENTIAL, good, load, problems, warnings, withCredential } from './load-text.ts';

const ENDPOINT = 'otlp_endpoint = https://otlp.example.com/v1/traces\n';
const tracingOf = (text: string) => good(withCredential(`[tracing]\n${text}`)).tracing;

t.test('without [tracing] there are no spans', async (t) => {
  t.match(good(load({ file: CREDENTIAL })).tracing, { otlpEndpoint: null, headerValue: null, resourceAttributes: [] });
});

t.test('[tracing] is read', async (t) => {
  const text = `${ENDPOINT}sample_ratio = 0.05\nparent_based = no\nheader_name = x-team\nheader_value = " secret "\nservice_name = crm-gateway\nresource_attributes = deployment.environment.name=prod, a=b=c\ntimeout = 2.5\n`;
  const { headerValue, ...rest } = tracingOf(text);
  t.equal(headerValue?.read().reveal(), ' secret ');
  t.strictSame(rest, {
    otlpEndpoint: 'https://otlp.example.com/v1/traces',
    sampleRatio: 0.05,
    parentBased: false,
    headerName: 'x-team',
    serviceName: 'crm-gateway',
    resourceAttributes: [
      ['deployment.environment.name', 'prod'],
      ['a', 'b=c'],
    ],
    timeoutMs: 2_500,
    unsafePlainHttp: false,
  });
});

t.test('ratios', async (t) => {
  for (const [written, ratio] of [
    ['0', 0],
    ['1', 1],
    ['1.0', 1],
    ['.5', 0.5],
    ['0.001', 0.001],
  ] as const)
    t.equal(tracingOf(`${ENDPOINT}sample_ratio = ${written}\n`).sampleRatio, ratio, written);
  for (const written of ['1.1', '-0.1', '50%', '1e-3', 'NaN', 'half', '0,5', '.', '0x1'])
    t.match(
      problems(withCredential(`[tracing]\n${ENDPOINT}sample_ratio = ${written}\n`)),
      [/tracing\.sample_ratio.*is not a number from 0 to 1; write it like 0\.05/],
      written,
    );
  const json = load({ files: { '/c.json': '' }, set: ['tracing.sample_ratio=0.25'], file: CREDENTIAL });
  t.equal(good(json).tracing.sampleRatio, 0.25);
});

t.test('endpoints that are none, and those that would give something away', async (t) => {
  const rows: Readonly<Record<string, RegExp>> = {
    'otlp.example.com:4318': /the URL must begin with|not an absolute URL/,
    'ftp://otlp.example.com/v1/traces': /must begin with http:\/\/ or https:\/\//,
    'grpc://otlp.example.com:4317': /must begin with/,
    'https://user:pass-word-1@otlp.example.com/v1/traces': /must not hold a user name or password/,
    'https://otlp.example.com/v1/traces?api-key=pass-word-1': /must not have a query/,
    'https://otlp.example.com/v1/traces#x': /must not have a query or a fragment/,
    'https://otlp.example.com': /has no path: most collectors take spans at https:\/\/otlp\.example\.com\/v1\/traces/,
    'https://otlp.example.com/': /has no path/,
    'http://otlp.example.com:4318/v1/traces': /http sends spans.*use https, or say unsafe_plain_http = true/,
    'http://localhost.example.com/v1/traces': /http sends spans/,
    'http://127.0.0.1:8080/v1/traces': /is this gateway itself/,
    'http://[::1]:8080/v1/traces': /is this gateway itself/,
  };
  for (const [url, message] of Object.entries(rows)) {
    const found = problems(
      withCredential(`[server]\nlisten = 127.0.0.1:8080, [::1]:8080\n[tracing]\notlp_endpoint = "${url}"\n`),
    );
    t.match(found, [message], url);
    t.equal(found.length, 1);
    t.notMatch(found.join(), /pass-word-1/, 'nothing secret is repeated');
  }
  for (const url of [
    'http://localhost:4318/v1/traces',
    'http://127.0.0.1:4318/v1/traces',
    'http://[::1]:4318/v1/traces',
  ])
    t.equal(tracingOf(`otlp_endpoint = ${url}\n`).otlpEndpoint, url);
  const far = 'http://otel-collector:4318/v1/traces';
  t.equal(tracingOf(`otlp_endpoint = ${far}\nunsafe_plain_http = true\n`).otlpEndpoint, far);
});

t.test('headers and attributes that cannot be', async (t) => {
  const found = (text: string) => problems(withCredential(`[tracing]\n${ENDPOINT}${text}\n`));
  for (const name of ['Host', 'content-type', 'Transfer-Encoding', 'user-agent'])
    t.match(found(`header_name = ${name}`), [/is set by the gateway itself/], name);
  t.match(found('header_name = a b'), [/is not a header name/]);
  t.match(found('header_value = "a-value-with-\u20ac-in-it"'), [/tracing\.header_value.*cannot hold/]);
  t.match(found('header_value_env = NOT_THERE'), [/NOT_THERE is not set/]);
  for (const item of ['a', '=b', 'a=', '1a=b', 'service.name=x', 'service.version=1', 'service.instance.id=1'])
    t.equal(found(`resource_attributes = ${item}`).length, 1, item);
});

t.test('settings without an endpoint have no effect, and are told', async (t) => {
  t.match(warnings(withCredential('[tracing]\nresource_attributes = a=b\n')), [
    /has no effect without tracing\.otlp_endpoint/,
  ]);
});
