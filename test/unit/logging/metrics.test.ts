// Metrics as a scrape sees them: parsed from the text format, bounded whatever the callers send.

import { randomUUID } from 'node:crypto';
import t from 'tap';
import { createExchangeRecord, type ExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { createMetrics } from '../../../src/logging/metrics/metrics.ts';
import { identifyOperation } from '../../../src/operations/table.ts';

const NOW = 1_800_000_000_000;

function start() {
  const metrics = createMetrics({ version: '1.2.3', now: () => NOW });
  metrics.setNames({ clients: ['crm'], credentials: ['default', 'eu'] });
  const end = (fields: Partial<ExchangeRecord>) => {
    metrics.started();
    metrics.ended(
      Object.assign(createExchangeRecord(0), {
        client: 'crm',
        credential: 'default',
        method: 'GET',
        route: '/api/v2/users',
        status: 200,
        durationMs: 40,
        source: 'upstream' as const,
        ...fields,
      }),
    );
  };
  return { metrics, end, scrape: async () => parse(await metrics.render()) };
}

/** `name{labels}` to value. */
function parse(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, key, value] = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
    if (key === undefined) throw new Error(`not in the text format: ${line}`);
    if (series.has(key)) throw new Error(`twice: ${key}`);
    series.set(key, Number(value));
  }
  return series;
}

const of = (series: Map<string, number>, name: string) =>
  [...series].filter(([key]) => key.replace(/\{.*/, '').replace(/_(?:bucket|sum|count)$/, '') === name);

t.test('exchanges are counted and timed by client, credential, method, route, status class and source', async (t) => {
  const { end, scrape } = start();
  end({});
  end({ durationMs: 60 });
  end({ status: 503, source: 'gateway', errorCode: 'gateway.upstream.unavailable' });
  end({ client: null, credential: null, status: 404, source: 'gateway', route: '' });
  end({ status: 0, aborted: true });
  const series = await scrape();
  t.equal(
    series.get(
      'gcg_requests_total{client="crm",credential="default",method="GET",operation="none",route="/api/v2/users",' +
        'status="2xx",source="upstream"}',
    ),
    2,
  );
  t.equal(
    series.get(
      'gcg_requests_total{client="crm",credential="default",method="GET",operation="none",route="/api/v2/users",' +
        'status="5xx",source="gateway"}',
    ),
    1,
  );
  t.equal(
    series.get(
      'gcg_requests_total{client="anonymous",credential="none",method="GET",operation="none",route="other",' +
        'status="404",source="gateway"}',
    ),
    1,
  );
  t.equal(
    series.get(
      'gcg_requests_total{client="crm",credential="default",method="GET",operation="none",route="/api/v2/users",' +
        'status="none",source="upstream"}',
    ),
    1,
  );
  t.equal(
    series.get(
      'gcg_requests_seconds_total{client="crm",credential="default",method="GET",operation="none",route="/api/v2/users",' +
        'status="2xx",source="upstream"}',
    ),
    0.1,
  );
  t.equal(
    series.get('gcg_request_duration_seconds_bucket{credential="default",status="2xx",source="upstream",le="0.025"}'),
    0,
  );
  t.equal(
    series.get('gcg_request_duration_seconds_bucket{credential="default",status="2xx",source="upstream",le="0.05"}'),
    1,
  );
  t.equal(
    series.get('gcg_request_duration_seconds_bucket{credential="default",status="2xx",source="upstream",le="+Inf"}'),
    2,
  );
  t.equal(series.get('gcg_request_duration_seconds_count{credential="default",status="2xx",source="upstream"}'), 2);
  t.equal(series.get('gcg_errors_total{client="crm",code="gateway.upstream.unavailable"}'), 1);
  t.equal(series.get('gcg_requests_aborted_total{credential="default"}'), 1);
  t.equal(series.get(`gcg_build_info{version="1.2.3",node="${process.versions.node}"}`), 1);
});

t.test('statuses with a cause of their own are counted by themselves, all others by class', async (t) => {
  const { end, scrape } = start();
  const statuses = [200, 204, 301, 400, 401, 403, 404, 405, 409, 422, 429, 500, 503];
  for (const status of statuses) end({ status });
  for (const status of [401, 403, 429]) end({ status, source: 'gateway', client: null });
  const counted = [...(await scrape())].filter(([key]) => key.startsWith('gcg_requests_total'));
  const by = (source: string) =>
    Object.fromEntries(
      counted
        .filter(([key]) => key.includes(`source="${source}"`))
        .map(([key, value]) => [/status="(\w+)"/.exec(key)?.[1], value]),
    );
  t.same(by('upstream'), { '2xx': 2, '3xx': 1, '4xx': 3, '401': 1, '403': 1, '404': 1, '409': 1, '429': 1, '5xx': 2 });
  t.same(by('gateway'), { '401': 1, '403': 1, '429': 1 });
  const durations = of(await scrape(), 'gcg_request_duration_seconds').map(([key]) => key);
  t.notOk(
    durations.some((key) => /status="\d\d\d"/.test(key)),
    'histograms go by class',
  );
});

t.test('who was refused is counted by client: by the gateway, and by the platform', async (t) => {
  const { metrics, end, scrape } = start();
  end({ status: 429, source: 'gateway', errorCode: 'gateway.rate.limited' });
  end({ status: 429 });
  end({ status: 429, client: 'made-up' });
  const series = await scrape();
  t.equal(series.get('gcg_errors_total{client="crm",code="gateway.rate.limited"}'), 1);
  t.equal(series.get('gcg_upstream_429_total{client="crm",credential="default",limit="unnamed"}'), 1);
  t.equal(series.get('gcg_upstream_429_total{client="other",credential="default",limit="unnamed"}'), 1);
  metrics.setNames({ clients: [], credentials: ['default'] });
  t.notMatch(await metrics.render(), /crm/, 'a client that is gone is forgotten');
});

t.test('certificates are told by what they are for, with the life that they have left', async (t) => {
  const { metrics, scrape } = start();
  t.equal(of(await scrape(), 'gcg_certificate_seconds_left').length, 0);
  metrics.setSources({
    certificates: () => [
      { use: 'listener', expiresAt: NOW + 5000 },
      { use: 'upstream_ca', expiresAt: NOW - 1000 },
    ],
  });
  const series = await scrape();
  t.equal(series.get('gcg_certificate_seconds_left{use="listener"}'), 5);
  t.equal(series.get('gcg_certificate_seconds_left{use="upstream_ca"}'), -1);
});

t.test('429s are counted as seen and as absorbed, further attempts by reason', async (t) => {
  const { end, scrape } = start();
  end({ retryReasons: ['429', '429'] });
  end({ retryReasons: ['429'], status: 429 });
  end({ status: 429, source: 'gateway' });
  end({ retryReasons: ['ECONNRESET', 'something new'] });
  const series = await scrape();
  t.equal(series.get('gcg_upstream_429_total{client="crm",credential="default",limit="unnamed"}'), 4);
  t.equal(series.get('gcg_upstream_429_absorbed_total{client="crm",credential="default"}'), 2);
  t.equal(series.get('gcg_retries_total{credential="default",reason="429"}'), 3);
  t.equal(series.get('gcg_retries_total{credential="default",reason="ECONNRESET"}'), 1);
  t.equal(series.get('gcg_retries_total{credential="default",reason="other"}'), 1);
});

t.test('429s are told by the limit that the platform names; what it makes up is no end of series', async (t) => {
  const { end, scrape } = start();
  end({ status: 429, limit: 'directory:user.rate.per.minute' });
  end({ retryReasons: ['429'], limit: 'directory:user.rate.per.minute' });
  for (let made = 0; made < 1_000; made += 1) end({ status: 429, limit: `made:up.${made}.rate.per.minute` });
  const series = of(await scrape(), 'gcg_upstream_429_total');
  t.equal(new Map(series).get(labelled('directory:user.rate.per.minute')), 2);
  t.equal(series.length, 51);
  t.equal(new Map(series).get(labelled('other')), 951);
});

function labelled(limit: string): string {
  return `gcg_upstream_429_total{client="crm",credential="default",limit="${limit}"}`;
}

t.test('channels are told by who made them with the token of which credential', async (t) => {
  const { metrics, scrape } = start();
  metrics.setSources({
    channels: () => [
      { client: 'crm', credential: 'default', channels: 12 },
      { client: null, credential: 'default', channels: 3 },
      { client: 'made-up', credential: 'made-up', channels: 1 },
    ],
  });
  const series = await scrape();
  t.equal(series.get('gcg_notification_channels{client="crm",credential="default"}'), 12);
  t.equal(series.get('gcg_notification_channels{client="anonymous",credential="default"}'), 3);
  t.equal(series.get('gcg_notification_channels{client="other",credential="other"}'), 1);
});

t.test('in flight goes up and down', async (t) => {
  const { metrics, end, scrape } = start();
  metrics.started();
  metrics.started();
  end({});
  t.equal((await scrape()).get('gcg_requests_in_flight'), 2);
});

t.test('queue waits are a histogram of those who waited', async (t) => {
  const { end, scrape } = start();
  end({});
  end({ queueMs: 300 });
  t.equal((await scrape()).get('gcg_queue_wait_seconds_count{credential="default"}'), 1);
});

t.test('of several tokens each is there: how many are in which state, and what each was used', async (t) => {
  const { metrics, scrape } = start();
  const tokens = [
    { number: 1, token: 'fresh', used: 290 },
    { number: 2, token: 'suspect', used: 12 },
    { number: 3, token: 'fresh', used: 0 },
  ];
  const common = { isRequired: true, token: 'fresh', renewal: 'idle', expiresAt: null };
  metrics.setSources({
    credentials: () => [
      { ...common, name: 'default', pool: { max: 4, tokens } },
      { ...common, name: 'eu', pool: null },
    ],
  });
  const series = await scrape();
  const expected = {
    'gcg_token_pool_max{credential="default"}': 4,
    'gcg_token_pool_tokens{credential="default",state="fresh"}': 2,
    'gcg_token_pool_tokens{credential="default",state="suspect"}': 1,
    'gcg_token_pool_tokens{credential="default",state="none"}': 0,
    'gcg_token_pool_calls{credential="default",number="1"}': 290,
    'gcg_token_pool_calls{credential="default",number="3"}': 0,
    'gcg_token_pool_max{credential="eu"}': undefined,
    'gcg_token_state{credential="default",required="true",state="fresh"}': 1,
  };
  for (const [name, value] of Object.entries(expected)) t.equal(series.get(name), value, name);
});

t.test('tokens, renewals, queues, connections, reloads and dropped records are there', async (t) => {
  const { metrics, scrape } = start();
  metrics.tokenRequest('default', 'client_credentials', 'ok');
  metrics.tokenRequest('default', 'client_credentials', 'ok');
  metrics.tokenRequest('surprise', 'pkce', 'rejected');
  metrics.configReload(true);
  metrics.configReload(false);
  metrics.setSources({
    credentials: () => [
      { name: 'default', isRequired: true, token: 'fresh', renewal: 'backoff', expiresAt: NOW + 90_000, pool: null },
      { name: 'eu', isRequired: true, token: 'none', renewal: 'login_required', expiresAt: null, pool: null },
    ],
    queueLengths: () => [['default', 3]],
    connections: () => ({ active: 2, idle: 5, unused: 1 }),
    logRecordsDropped: () => 7,
  });
  const series = await scrape();
  const expected = {
    'gcg_token_requests_total{credential="default",grant="client_credentials",result="ok"}': 2,
    'gcg_token_requests_total{credential="other",grant="pkce",result="rejected"}': 1,
    'gcg_config_reloads_total{result="applied"}': 1,
    'gcg_config_reloads_total{result="refused"}': 1,
    gcg_config_last_reload_applied: 0,
    'gcg_token_seconds_left{credential="default"}': 90,
    'gcg_token_seconds_left{credential="eu"}': undefined,
    'gcg_token_state{credential="default",required="true",state="fresh"}': 1,
    'gcg_token_state{credential="default",required="true",state="due"}': 0,
    'gcg_renewal_state{credential="eu",required="true",state="login_required"}': 1,
    'gcg_queue_length{credential="default"}': 3,
    'gcg_upstream_connections{state="idle"}': 5,
    'gcg_upstream_connections{state="unused"}': 1,
    gcg_log_records_dropped_total: 7,
  };
  for (const [key, value] of Object.entries(expected)) t.equal(series.get(key), value, key);
  t.ok((series.get('process_resident_memory_bytes') ?? 0) > 1_000_000, 'the process too');
});

t.test('10,000 different ids in paths make fewer than 200 series a metric', async (t) => {
  const { end, scrape } = start();
  for (let n = 0; n < 10_000; n++) {
    const id = n % 2 ? randomUUID() : `u${n}`;
    const target = [
      `/api/v2/users/${id}`,
      `/api/v2/${id}/users`,
      `/api/v2/routing/queues/${id}/members/${id}`,
      `/${id}`,
      `/api/v2/users/${id}?x=${id}`,
    ][n % 5] as string;
    end({ route: identifyOperation('GET', target).template, status: n % 7 ? 200 : 404, durationMs: n });
  }
  const series = await scrape();
  const names = new Set([...series.keys()].map((key) => key.replace(/\{.*/, '').replace(/_(?:bucket|sum|count)$/, '')));
  for (const name of names) t.ok(of(series, name).length < 200, `${name}: ${of(series, name).length}`);
  t.equal(
    of(series, 'gcg_requests_total').reduce((sum, [, value]) => sum + value, 0),
    10_000,
    'none is lost',
  );
});

t.test('what a caller makes up becomes no label', async (t) => {
  const { end, scrape } = start();
  for (let n = 0; n < 3000; n++)
    end({
      client: `c${n}`,
      credential: `k${n}`,
      method: `M${n}`,
      status: 1000 + n,
      retryReasons: [`r${n}`],
      errorCode: `e${n}`,
    });
  const series = await scrape();
  t.strictSame(of(series, 'gcg_requests_total'), [
    [
      'gcg_requests_total{client="other",credential="other",method="other",operation="none",route="/api/v2/users",' +
        'status="none",source="upstream"}',
      3000,
    ],
  ]);
  t.equal(of(series, 'gcg_retries_total').length, 1);
  t.equal(of(series, 'gcg_errors_total').length, 0);
});

t.test('the number of request series is capped, and what is beyond the cap is still counted', async (t) => {
  const { end, scrape } = start();
  for (let n = 0; n < 3000; n++) end({ route: `/r${n}` });
  const series = of(await scrape(), 'gcg_requests_total');
  t.equal(series.length, 1001);
  t.equal(series.at(-1)?.[1], 2000);
  t.equal(
    series.reduce((sum, [, value]) => sum + value, 0),
    3000,
  );
});

t.test('open sockets are counted by client and credential, and unknown names as other', async (t) => {
  const { metrics, scrape } = start();
  t.same(of(await scrape(), 'gcg_websockets_open'), []);
  const sockets = [
    ...[1, 2].map(() => ({ client: 'crm', credential: 'default' })),
    ...['a', 'b', 'c'].map((name) => ({ client: name, credential: `of ${name}` })),
    { client: null, credential: 'eu' },
  ];
  metrics.setSources({ sockets: () => sockets });
  t.same(Object.fromEntries(of(await scrape(), 'gcg_websockets_open')), {
    'gcg_websockets_open{client="crm",credential="default"}': 2,
    'gcg_websockets_open{client="other",credential="other"}': 3,
    'gcg_websockets_open{client="anonymous",credential="eu"}': 1,
  });
});

t.test(
  'what was counted for names that reloads took away is forgotten, so that there is room for those of now',
  async (t) => {
    const { metrics, end, scrape } = start();
    const load = (n: number) => metrics.setNames({ clients: [`client-${n}`], credentials: [`credential-${n}`] });
    const use = (n: number) => {
      end({ client: `client-${n}`, credential: `credential-${n}`, retryReasons: ['429'], queueMs: 5 });
      metrics.tokenRequest(`credential-${n}`, 'client_credentials', 'ok');
      metrics.tokenTransition(`credential-${n}`, 'fresh', 'idle');
    };
    load(0);
    use(0);
    const first = (await scrape()).size;
    for (let n = 1; n < 1_200; n += 1) {
      load(n);
      use(n);
    }
    const series = await scrape();
    t.equal(series.size, first, 'as many as with the first names');
    t.notOk([...series.keys()].some((key) => /credential-0"|client-0"/.test(key)));
    t.equal(
      series.get('gcg_token_requests_total{credential="credential-1199",grant="client_credentials",result="ok"}'),
      1,
    );
    t.ok(
      [...series.keys()].some((key) =>
        key.startsWith('gcg_requests_total{client="client-1199",credential="credential-1199"'),
      ),
    );
  },
);
