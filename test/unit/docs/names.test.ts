// What pages name is there: options, variables of the environment, error codes, routes, metrics, fields of the log, exit
// codes. And what there is of metrics, fields, codes and exit codes is on a page.

import t from 'tap';
import { logFields } from '../../../scripts/surface.ts';
import { EXIT_CODES } from '../../../src/cli/help.ts';
import { findKey, keysOf, SECTIONS } from '../../../src/config/table.ts';
import { ERROR_TABLE } from '../../../src/errors.ts';
import { createMetrics } from '../../../src/logging/metrics/metrics.ts';
import { OWN_ROUTES } from '../../../src/server/own-routes.ts';
import { good, load, warnings } from '../config/load-text.ts';
import { blocksOf, CURRENT_PAGES, codeOf, read } from './pages.ts';

/** The page that generates itself from the same table names keys that only SDKs know, too. */
const BY_HAND = CURRENT_PAGES.filter((page) => page !== 'docs/configuration.md');
const everywhere = (page: string) => [...codeOf(page), ...blocksOf(page).map(({ text }) => text)];
const SECTION_NAMES: ReadonlySet<string> = new Set(SECTIONS.map(({ name }) => name));
const ALL_KEYS: ReadonlySet<string> = new Set([...SECTION_NAMES].flatMap(keysOf));

/** What looks like an option and is none: files, fields of the status, and the SDK's. */
const NO_OPTIONS: ReadonlySet<string> = new Set([
  ...['gateway.crt', 'gateway.csr', 'gateway.http', 'gateway.ini', 'gateway.json', 'gateway.key', 'gateway.log'],
  ...['gateway.ts', 'gateway.app', 'store.key', 'store.quota', 'store.state', 'client.config'],
]);

/** The section and key of what names one, `timeouts.total_wait = 15` or `[timeouts] total_wait`; else null. */
function optionIn(code: string): { section: string; key: string } | null {
  const dotted = /^([a-z_]+(?:\.(?:tls|headers))?)\.([a-z_]+)(?:\[\])?(?: ?= ?.*)?$/.exec(code);
  const bracketed = /^\[([a-z_]+(?:\.tls)?)(?:\.[\w-]+)?\] ([a-z_]+)(?:\[\])?(?: = .*)?$/.exec(code);
  const [, section = '', key = ''] = dotted ?? bracketed ?? [];
  return SECTION_NAMES.has(section) ? { section, key } : null;
}

t.test('every option that a page names is one', async (t) => {
  let count = 0;
  for (const page of BY_HAND) {
    for (const code of codeOf(page)) {
      const option = optionIn(code);
      const bare = /^([a-z_]+)(?:\[\])? = /.exec(code);
      if (option !== null && !NO_OPTIONS.has(`${option.section}.${option.key}`)) {
        count++;
        const isCode = Object.hasOwn(ERROR_TABLE, code);
        t.ok(isCode || findKey(option.section, option.key) !== undefined, `${page}: ${code}`);
      } else if (bare !== null) {
        count++;
        t.ok(ALL_KEYS.has(bare[1] ?? ''), `${page}: ${code}`);
      }
    }
  }
  t.ok(count > 150, `${count}`);
  t.same(optionIn('[server.tls] cert_file'), { section: 'server.tls', key: 'cert_file' });
});

/** Variables that are none of the configuration. */
const OTHER_VARIABLES = /^GCG_(?:CONFIG|ADMIN_KEY|TEST_LONG|PICTURES|DEFAULT_|KEY)?$/;

t.test('every variable that a page names is read', async (t) => {
  const names = new Set(BY_HAND.flatMap((page) => [...read(page).matchAll(/\bGCG_[A-Z0-9_]*/g)].map(([name]) => name)));
  for (const name of names) {
    if (OTHER_VARIABLES.test(name)) continue;
    // Of a family as of one of its names.
    const own = name.replace('GCG_DEFAULT_', 'GCG_');
    const result = load({ env: { [own]: 'x' } });
    t.notMatch(warnings(result).join('\n'), 'no option has this name', name);
  }
  t.ok(names.size > 10, `${names.size}`);
});

t.test('every error code that a page names is one, and each is told what to do about', async (t) => {
  const codes = Object.keys(ERROR_TABLE);
  for (const page of BY_HAND) {
    for (const code of codeOf(page)) {
      if (!/^gateway\.[a-z]+(?:\.[a-z]+)*(?:\.\*)?$/.test(code) || NO_OPTIONS.has(code)) continue;
      if (findKey('gateway', code.slice('gateway.'.length)) !== undefined) continue;
      const isKnown = code.endsWith('.*')
        ? codes.some((each) => each.startsWith(code.slice(0, -1)))
        : codes.includes(code);
      t.ok(isKnown, `${page}: ${code}`);
    }
  }
  const errors = read('docs/errors.md');
  for (const code of codes) t.ok(errors.includes(`\`${code}\``), code);
});

t.test('every route of ours that a page names is one', async (t) => {
  const patterns = OWN_ROUTES.map(({ path }) => new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}/?$`));
  let count = 0;
  for (const page of BY_HAND) {
    for (const text of everywhere(page)) {
      for (const [path] of text.matchAll(/(?<![\w.])(?:\/-\/[\w/{}:…-]*|\/(?:livez|healthz|readyz|metrics)\b)/g)) {
        // A family of routes, or the end of a sentence.
        if (path === '/-/' || path.endsWith('…')) continue;
        count++;
        t.ok(
          patterns.some((pattern) => pattern.test(path)),
          `${page}: ${path}`,
        );
      }
    }
  }
  t.ok(count > 80, `${count}`);
});

t.test('docs/metrics.md and docs/instances.md have every metric, and no page names another', async (t) => {
  const rendered = await createMetrics({ version: '0' }).render();
  const names = [...rendered.matchAll(/^# HELP (gcg_\w+)/gm)].map(([, name = '']) => name);
  t.ok(names.length > 40);
  const listed = `${read('docs/metrics.md')}${read('docs/instances.md')}`;
  for (const name of names) t.ok(listed.includes(name), name);
  for (const page of CURRENT_PAGES) {
    for (const [written] of read(page).matchAll(/\bgcg_\w+/g)) {
      const name = written.replace(/_(?:bucket|sum|count)$/, '');
      const isFamily = written.endsWith('_') && names.some((each) => each.startsWith(written));
      t.ok(
        isFamily || names.includes(name) || written === 'gcg_login' || written === 'gcg_client_add',
        `${page}: ${written}`,
      );
    }
  }
});

/** Fields of every record, whatever it is about. */
const OF_EVERY_RECORD = ['level', 'time', 'msg'];

t.test('docs/log.md has every field of a record of a call, and no other', async (t) => {
  const fields = logFields().flatMap(([name = '']) => (OF_EVERY_RECORD.includes(name) ? [] : [name]));
  const [, table = ''] = read('docs/log.md').split('| field | tells |');
  const rows = (table.split('\n\n')[0] ?? '').split('\n').map((row) => row.split(' | ')[0] ?? '');
  const listed = rows.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name));
  t.same(listed.toSorted(), fields.toSorted());
});

t.test('every exit code is on the page of what to do, and a signal has none of its own', async (t) => {
  const [, section = ''] = read('docs/troubleshooting.md').split('## By exit code');
  for (const [code] of EXIT_CODES) t.match(section.split('\n## ')[0], new RegExp(`^\\| ${code} \\|`, 'm'), code);
});

t.test('names that do not exist are seen', async (t) => {
  t.equal(findKey('server', 'lisen'), undefined);
  t.match(warnings(load({ env: { GCG_SERVER_LISEN: 'x' } })).join(), 'no option has this name');
  t.ok(good(load({})));
});
