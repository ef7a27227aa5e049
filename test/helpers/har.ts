// Whether a text is an HTTP Archive: by the published schema, of which the few words that it uses are understood here,
// and by what the specification says in prose: no phase is negative but where -1 says that there was none, and they add
// up.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Har } from 'har-format';

const FOLDER = fileURLToPath(new URL('../../node_modules/har-schema/lib', import.meta.url));

interface Schema {
  readonly $id?: string;
  readonly $ref?: string;
  readonly type?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly pattern?: string;
  readonly format?: string;
}

const SCHEMAS = new Map(
  globSync('*.json', { cwd: FOLDER }).map((file) => {
    const schema = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Schema;
    return [schema.$id, schema] as const;
  }),
);

/** What is wrong with the text of an archive, in words; empty where nothing is. */
export function problemsOfHar(text: string): string[] {
  const har = JSON.parse(text) as Har;
  const problems = [...violations(har, SCHEMAS.get('har.json#') as Schema, 'it')];
  for (const [at, { time, timings }] of har.log.entries.entries()) {
    const { blocked = -1, dns = -1, connect = -1, ssl = -1, send = -1, wait, receive } = timings;
    const phases = { blocked, dns, connect, ssl, send, wait, receive };
    for (const [name, ms] of Object.entries(phases))
      if (!(ms >= 0) && (ms !== -1 || ['send', 'wait', 'receive'].includes(name)))
        problems.push(`entry ${at}: ${name} is ${ms}`);
    if (ssl > connect) problems.push(`entry ${at}: ssl ${ssl} is part of connect ${connect}`);
    const sum = [blocked, dns, connect, send, wait, receive].reduce((all, ms) => all + Math.max(0, ms), 0);
    if (Math.abs(sum - time) > 0.001) problems.push(`entry ${at}: the phases come to ${sum}, the time is ${time}`);
  }
  return problems;
}

function* violations(value: unknown, schema: Schema, at: string): Generator<string> {
  if (schema.$ref !== undefined) {
    const target = SCHEMAS.get(schema.$ref);
    if (target === undefined) throw new Error(`the schema ${schema.$ref} is not there`);
    yield* violations(value, target, at);
    return;
  }
  if (schema.type !== undefined && !isOfType(value, schema.type)) {
    yield `${at} is no ${schema.type}`;
    return;
  }
  if (typeof value === 'string' && schema.pattern !== undefined && !new RegExp(schema.pattern).test(value))
    yield `${at} is ${value}`;
  if (typeof value === 'string' && schema.format === 'uri' && !URL.canParse(value)) yield `${at} is no URL: ${value}`;
  if (Array.isArray(value))
    for (const [index, item] of value.entries()) yield* violations(item, schema.items ?? {}, `${at}[${index}]`);
  else if (typeof value === 'object' && value !== null) {
    for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) yield `${at}.${name} is not there`;
    for (const [name, item] of Object.entries(value))
      yield* violations(item, schema.properties?.[name] ?? {}, `${at}.${name}`);
  }
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'array') return Array.isArray(value);
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  return typeof value === type;
}
