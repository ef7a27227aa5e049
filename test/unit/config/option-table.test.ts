// The option table against the code that reads it: every option is read, every default and every example can be used.

import t from 'tap';
import { jsonSchema } from '../../../src/config/json-schema.ts';
import { formatProblem } from '../../../src/config/problem.ts';
import { findKey, OPTIONS, SECTIONS } from '../../../src/config/table.ts';
import { load } from './load-text.ts';

const headOf = (section: string) => (section === 'client' ? 'client.crm' : section);

t.test('no option is there twice, each has one line of text, and each is of a known section', async (t) => {
  t.equal(new Set(OPTIONS.map(({ section, key }) => `${section}.${key}`)).size, OPTIONS.length);
  for (const { section, key, doc } of OPTIONS) {
    t.ok(SECTIONS.some(({ name }) => name === section));
    t.match(doc, /^[^\n|]{10,140}\.$/, `${section}.${key}`);
    t.match(key, /^[a-z0-9]+(_[a-z0-9]+)*$/);
  }
});

t.test('a value of nonsense is noticed for every option, so every option is read', async (t) => {
  for (const option of OPTIONS) {
    const key = `${headOf(option.section)}.${option.key}`;
    // A control character is allowed nowhere; a secret is noticed by an empty value.
    const result = load({
      file: `[${headOf(option.section)}]\n${option.key} = ${option.isSecret ? '""' : '"\\u0001"'}`,
    });
    const found = result.ok ? [] : result.problems.map(formatProblem);
    t.ok(
      found.some((line) => line.startsWith(`gcg.ini:2: ${key}: `)),
      `${key}: ${found.join(' | ')}`,
    );
  }
});

t.test('every default and every example is a value that can be used', async (t) => {
  for (const option of OPTIONS) {
    if (option.kind.type === 'path' || option.isSecret) continue;
    const key = `${headOf(option.section)}.${option.key}`;
    for (const value of [option.default, option.example]) {
      if (value === null || value === undefined) continue;
      const result = load({
        file: `[${headOf(option.section)}]\n${option.key} = "${value}"`,
        set: ['credential.client_id=x', 'credential.client_secret_env=S'],
        env: { S: 's' },
      });
      const found = (result.ok ? [] : result.problems).filter(
        (problem) => problem.key === key && !/needs|can be reached/.test(problem.message),
      );
      t.strictSame(found, [], `${key} = ${value}`);
    }
  }
});

t.test('secrets can be in a file or in a variable, other options cannot', async (t) => {
  for (const { section, key, isSecret } of OPTIONS) {
    t.equal(findKey(section, `${key}_file`)?.form, isSecret ? 'file' : undefined, key);
    t.equal(findKey(section, `${key}_env`)?.form, isSecret ? 'env' : undefined, key);
  }
});

t.test('exactly the secrets of the contract are secrets', async (t) => {
  const secrets = OPTIONS.filter(({ isSecret }) => isSecret).map(({ section, key }) => `${section}.${key}`);
  t.strictSame(secrets.sort(), [
    'client.secret',
    'credential.access_token',
    'credential.assertion',
    'credential.client_secret',
    'credential.refresh_token',
    'proxy.password',
    'store.encryption_key',
    'store.encryption_key_previous',
    'store.password',
    'store.sentinel_password',
    'tls.key_passphrase',
    'tracing.header_value',
  ]);
});

t.test('the JSON schema knows every option and nothing else', async (t) => {
  const { properties, additionalProperties } = jsonSchema() as {
    properties: Record<string, { properties?: Record<string, unknown> }>;
    additionalProperties: unknown;
  };
  t.equal(additionalProperties, false);
  const text = JSON.stringify(properties);
  for (const { key } of OPTIONS) t.match(text, `"${key}"`);
  t.strictSame(Object.keys(properties.general?.properties ?? {}), [
    'host',
    'unsafe_unlisted_host',
    'live_reload_config',
  ]);
  const named = properties.credential as { patternProperties?: Record<string, unknown> };
  const [pattern = ''] = Object.keys(named.patternProperties ?? {});
  t.equal(new RegExp(pattern).test('crm'), true);
  t.equal(
    new RegExp(pattern).test('client_id') || new RegExp(pattern).test('scope') || new RegExp(pattern).test('api'),
    false,
  );
});
