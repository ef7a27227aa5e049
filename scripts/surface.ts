// What users of this version can depend on, as lists that are made from the code: names, and the shape of each. Nothing
// here is written by hand; what is promised of the lists is in docs/compatibility.md.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COMMANDS, COMMON_FLAGS, type CommandSpec } from '../src/cli/command-table.ts';
import { EXIT_CODES } from '../src/cli/help.ts';
import { envName, NOT_SETTINGS } from '../src/config/env.ts';
import type { OptionRow } from '../src/config/section.ts';
import { SECTIONS } from '../src/config/table.ts';
import { ERROR_TABLE } from '../src/errors.ts';
import { createExchangeRecord, type ExchangeRecord } from '../src/logging/exchange-record.ts';
import { exchangeLine } from '../src/logging/format.ts';
import { createMetrics } from '../src/logging/metrics/metrics.ts';
import { SCHEMA } from '../src/redis/meta.ts';
import { OWN_ROUTES } from '../src/server/own-routes.ts';
import { embeddingFace } from './embedding-face.ts';

/** By kind: names, and the shape of each as text, which may be empty. */
export type Surface = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** A name, and its shape. */
type Row = readonly [name: string, shape: string];

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SRC = join(ROOT, 'src');

/** All lists of the code as it is, names in alphabetical order. */
export async function surface(): Promise<Surface> {
  const sources = globSync('**/*.ts', { cwd: SRC, exclude: (path) => /^inspector.page$/.test(path) }).map((file) =>
    readFileSync(join(SRC, file), 'utf8'),
  );
  const lists: Readonly<Record<string, readonly Row[]>> = {
    option: options(),
    environment: environment(),
    command: commands(),
    'exit code': exitCodes(),
    'error code': Object.entries(ERROR_TABLE).map(([code, { status }]) => [code, String(status)]),
    metric: await metrics(),
    'log field': logFields(),
    'log record': logRecords(sources),
    route: OWN_ROUTES.flatMap(({ template, methods }) => methods.map((method) => [`${method} ${template}`, ''])),
    header: found(sources, /'(x-gateway-[a-z-]+)'/gi, 1),
    export: await embeddingFace(ROOT),
    format: [
      ...found(sources, /'(gcg-(?:store|usage|audit)-\d+)'/g, 1),
      ...found(sources, /[`'](gcg[a-z]_)[`'$]/g, 1),
      ['Redis schema', String(SCHEMA)],
    ],
  };
  return Object.fromEntries(
    Object.entries(lists).map(([kind, rows]) => [
      kind,
      Object.fromEntries(rows.toSorted(([a], [b]) => (a < b ? -1 : 1))),
    ]),
  );
}

function options(): Row[] {
  return SECTIONS.flatMap(({ name, rows }) =>
    rows.flatMap((row): Row[] => {
      const option = `${name}.${row.key}`;
      const choices = row.kind.type === 'choice' ? row.kind.of : [];
      return [[option, shapeOf(row)], ...choices.map((one): Row => [`${option} = ${one}`, ''])];
    }),
  );
}

function shapeOf({ kind, isSecret }: OptionRow): string {
  const limits = kind.type === 'integer' ? ` ${kind.min}..${kind.max ?? ''}` : '';
  return `${isSecret ? 'secret ' : ''}${kind.type}${limits}`;
}

function environment(): Row[] {
  const ofOptions = SECTIONS.flatMap(({ name, isNamed, rows }) =>
    rows.map(({ key }) => envName(name, isNamed && name === 'client' ? 'NAME' : '', key)),
  );
  return [...ofOptions, ...NOT_SETTINGS].map((name) => [name, '']);
}

function commands(): Row[] {
  const flagsOf = (command: string, flags: CommandSpec['flags']) =>
    flags.flatMap(({ name, value, letter }): Row[] => {
      const long: Row = [`${command} --${name}`, value === undefined ? 'switch' : 'value'];
      return letter === undefined ? [long] : [long, [`${command} -${letter}`, '']];
    });
  return [
    ...flagsOf('every', COMMON_FLAGS),
    ...COMMANDS.flatMap((command: CommandSpec): Row[] => [[command.name, ''], ...flagsOf(command.name, command.flags)]),
  ];
}

function exitCodes(): Row[] {
  return [
    ...EXIT_CODES.map(([code]): Row => [`every ${code}`, '']),
    ...COMMANDS.flatMap(({ name, exits = [] }: CommandSpec) => exits.map(([code]): Row => [`${name} ${code}`, ''])),
  ];
}

/** A record with something in every field, so that its line shows all of them. */
function fullRecord(): ExchangeRecord {
  const body = { write() {}, render: () => ({ a: 1 }), whole: () => null };
  const words = Object.entries(createExchangeRecord(0)).map(([name, value]) => [
    name,
    value === null || value === '' ? 'x' : value,
  ]);
  return Object.assign(createExchangeRecord(0), Object.fromEntries(words), {
    method: 'GET',
    status: 429,
    source: 'upstream' as const,
    retryReasons: ['429'],
    retryAfterMs: 1000,
    closeCode: 1000,
    aborted: true,
    authorizationReplaced: true,
    runningAt: -1,
    requestHeaders: ['a', 'b'],
    responseHeaders: ['a', 'b'],
    requestBody: body,
    responseBody: body,
    failureBody: body,
    trace: null,
    captured: null,
    sender: null,
    listener: null,
  });
}

/** The fields of a call's line in the log, and the type of each. */
export function logFields(): Row[] {
  const detail = { requestHeaders: true, responseHeaders: true, bodies: true, mask: (text: string) => text };
  const line = JSON.parse(exchangeLine(fullRecord(), 'info', '', detail)) as Record<string, unknown>;
  return Object.entries(line).map(([name, value]) => [name, Array.isArray(value) ? 'list' : typeof value]);
}

/** Messages of records that are no calls; a level that is chosen as it runs is not told. */
function logRecords(sources: readonly string[]): Row[] {
  const constants = new Map(found(sources, /\bconst ([A-Z][A-Z_]+) = '([a-z][^'\\\n]+)'/g, 1, 2));
  const call =
    /(?:\.(error|warn|info|debug)|\blog\[[^\]]+\])\(\s*(?:[^;]*?,\s*)?(?:'([a-z][^'\\\n]{3,})'|([A-Z][A-Z_]+)),?\s*\);/g;
  return sources.flatMap((text) =>
    [...text.matchAll(call)].flatMap(([, level = '', message, constant = '']) => {
      const words = message ?? constants.get(constant);
      return words === undefined ? [] : [[words, level]];
    }),
  );
}

/** Each metric with its type and its labels, as a scrape shows them where everything is configured and has happened. */
async function metrics(): Promise<Row[]> {
  const made = createMetrics({ version: '0' });
  const whose = { client: 'a', credential: 'a' };
  made.setNames({ clients: ['a'], credentials: ['a'] });
  made.started();
  made.ended({
    ...fullRecord(),
    ...whose,
    queueMs: 1,
    attempts: 2,
    durationMs: 1,
    upstreamMs: 1,
    errorCode: 'gateway.loop',
  });
  made.ended({ ...fullRecord(), ...whose, status: 200, retryReasons: ['429'], errorCode: null });
  made.tokenRequest('a', 'pkce', 'ok');
  made.tokenTransition('a', 'fresh', 'idle');
  made.configReload(true);
  made.storeCommand('tick', 'ok', 1);
  const one = { '': 1 };
  made.setSources({
    credentials: () => [
      {
        name: 'a',
        isRequired: true,
        token: 'fresh',
        renewal: 'idle',
        expiresAt: 1,
        pool: { max: 1, tokens: [{ number: 1, token: 'fresh', used: 1 }] },
      },
    ],
    clients: () => [
      { name: 'a', expiresAt: 1, isBlocked: false, rejected: 0, secrets: [{ fingerprint: 'f', lastSeenAt: 1 }] },
    ],
    certificates: () => [{ use: 'listener', expiresAt: 1 }],
    queueLengths: () => [['a', 1]],
    connections: () => ({ active: 1, idle: 1, unused: 1 }),
    sockets: () => [whose],
    channels: () => [{ ...whose, channels: 1 }],
    isCapturing: () => true,
    usage: () => [{ ...whose, calls: 1 }],
    budgets: () => [{ name: 'a', limit: 1 }],
    watchers: () => 1,
    spans: () => ({ sent: 1, waiting: 1, dropped: one }),
    audit: () => ({ failure: null, lost: 0 }),
    store: () => ({
      isUp: true,
      gaps: 0,
      toldAgain: 0,
      unwritten: 0,
      instances: 1,
      tokensFromPeers: 0,
      degradedSeconds: 0,
      lockWaits: one,
      permits: one,
    }),
  });
  const text = await made.render();
  const labels = new Map<string, Set<string>>();
  for (const [, name = '', inside = ''] of text.matchAll(/^(gcg_[a-z0-9_]+)(?:\{(.*)\})? /gm)) {
    const base = name.replace(/_(?:bucket|sum|count)$/, '');
    const set = labels.get(name) ?? new Set();
    for (const [, label = ''] of inside.matchAll(/(\w+)="/g)) set.add(label);
    for (const one of [name, base]) labels.set(one, new Set([...set, ...(labels.get(one) ?? [])]));
  }
  return [...text.matchAll(/^# TYPE (gcg_\w+) (\w+)$/gm)].map(([, name = '', type = '']) => {
    const known = labels.get(name);
    if (known === undefined) throw new Error(`${name} has no sample: give its source one here`);
    return [name, [type, ...[...known].filter((label) => label !== 'le').sort()].join(' ')];
  });
}

/** What a pattern finds in the sources: the name is in one group, its shape in another, where there is one. */
function found(sources: readonly string[], pattern: RegExp, name: number, shape = 0): Row[] {
  const rows = sources.flatMap((text) =>
    [...text.matchAll(pattern)].map((match): Row => [match[name] ?? '', shape === 0 ? '' : (match[shape] ?? '')]),
  );
  return [...new Map(rows)];
}
