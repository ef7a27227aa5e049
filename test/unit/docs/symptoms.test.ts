// The words by which a reader finds something in docs/troubleshooting.md and docs/upgrading.md are those that the program
// says: the messages about a configuration as they are made, the others as they stand in its sources.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CREDENTIAL, load, problems, warnings } from '../config/load-text.ts';
import { ROOT, read } from './pages.ts';

const LONG = '0123456789abcdef0123';
const open = '[server]\nlisten = 0.0.0.0:8080\n';
const client = (lines: string) => `[client.a]\n${lines}\n`;

/** Configurations that are refused, or warned of, on the two pages. */
const CONFIGURATIONS: readonly Parameters<typeof load>[0][] = [
  { requireCredential: true },
  ...[
    '[general]\nhots = x\n',
    '[general]\nhost = mypurecloud.dee\n',
    '[general]\nhost = gateway.example.com\n',
    `${client(`secret = ${LONG}`)}[client.b]\nsecret = ${LONG}\n`,
    client('secret = short'),
    client(`secret = "${LONG} "`),
    client(`secret = gcgh_${LONG}`),
    open,
    `${open}anonymous_credentials = default\n${client(`secret = ${LONG}`)}`,
    `${open}${client(`secret = ${LONG}\nadmin = true`)}`,
    '[proxy]\nurl = pac+http://p/x.pac\nusername = a\npassword = b\n',
  ].map((text) => ({ file: `${CREDENTIAL}${text}` })),
  { file: '[credential]\nclient_id = a\nclient_secret = b#c\n' },
  { file: CREDENTIAL, owner: 1001 },
  {
    file: '[credential]\nclient_id = a\ngrant_type = saml2_bearer\norg_name = o\nassertion_command[] = /bin/true\n',
    mode: 0o666,
  },
];

const told = CONFIGURATIONS.map(load)
  .flatMap((result) => [...problems(result), ...warnings(result)])
  .join('\n');
const sources = globSync('src/**/*.ts', { cwd: ROOT })
  .map((path) => readFileSync(join(ROOT, path), 'utf8'))
  .join('\n')
  // A sentence may go on in the next piece of a text.
  .replaceAll(/['`] \+\s*['`]/g, '');

/** The words in the first cells of the table under a heading. */
function symptomsOf(page: string, heading: string): string[] {
  const [, section = ''] = read(page).split(`## ${heading}\n`);
  const rows = (section.split('\n## ')[0] ?? '').split('\n').filter((line) => line.startsWith('| '));
  return rows.flatMap((row) => {
    const [, cell = ''] = row.split(/(?<!\\)\|/);
    return [...cell.matchAll(/`([^`]+)`/g)].map(([, words = '']) => words);
  });
}

for (const [page, heading] of [
  ['docs/upgrading.md', 'Configurations that are refused now'],
  ['docs/upgrading.md', 'Warnings that are new'],
] as const) {
  t.test(`what ${page} says under "${heading}" is said`, async (t) => {
    const symptoms = symptomsOf(page, heading);
    t.ok(symptoms.length > 3);
    for (const words of symptoms) t.ok(told.includes(words), words);
  });
}

t.test('what docs/troubleshooting.md finds by words is said', async (t) => {
  const symptoms = symptomsOf('docs/troubleshooting.md', 'Before the first call');
  t.ok(symptoms.length > 10);
  for (const words of symptoms) {
    const fixed = words.replace(/ at 127\.0\.0\.1:8080$/, ' at ');
    t.ok(told.includes(words) || sources.includes(fixed), words);
  }
});
