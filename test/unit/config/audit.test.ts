import t from 'tap';
import { load, problems } from './load-text.ts';

const CREDENTIAL = '[credential]\nclient_id = a\nclient_secret = b\n';
const configOf = (text: string) => {
  const result = load({ file: CREDENTIAL + text });
  return result.ok ? result.config : undefined;
};

t.test('without [audit] there is no trail', async (t) => {
  t.strictSame(configOf('')?.audit, { file: null, methods: [], sync: false, onFailure: 'refuse' });
});

t.test('[audit] is read, methods in capitals', async (t) => {
  const text = '[audit]\nfile = /var/log/audit.jsonl\nmethods = post, Delete\nsync = yes\non_failure = continue\n';
  t.strictSame(configOf(text)?.audit, {
    file: '/var/log/audit.jsonl',
    methods: ['POST', 'DELETE'],
    sync: true,
    onFailure: 'continue',
  });
});

t.test('mistakes in [audit] are told', async (t) => {
  const found = (text: string) => problems(load({ file: CREDENTIAL + text }));
  t.match(found('[audit]\nfile = /a\nmethods = PSOT\n'), [/"PSOT" is not a method; did you mean "POST"/]);
  t.match(found('[audit]\nfile = /a\n[logging]\nlog_file_path = /a\n'), [
    /audit\.file.*is also logging\.log_file_path/,
  ]);
  t.match(found('[audit]\nfile = /a\non_failure = ignore\n'), [/on_failure/]);
});

t.test('a budget of a client', async (t) => {
  const client = '[client.crm]\nsecret = a-secret-of-many-characters\n';
  t.match(configOf(client)?.clients, [{ requestsPerMonth: null, overBudget: 'warn' }]);
  t.match(configOf(`${client}requests_per_month = 1000\nover_budget = refuse\n`)?.clients, [
    { requestsPerMonth: 1000, overBudget: 'refuse' },
  ]);
  const { warnings } = load({ file: `${CREDENTIAL}${client}over_budget = refuse\n` });
  t.match(warnings, [{ message: /has no effect without requests_per_month/ }]);
});
