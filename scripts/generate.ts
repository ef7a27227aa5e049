// Writes the files that come from tables: config.example.ini, docs/configuration.md, docs/config.schema.json,
// docs/errors.md, docs/commands.md, docs/routes.md, docs/read-only.md, one line of docs/instances.md; and the version,
// where texts and examples state it. A test compares them with what is in the repository.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { aclLine } from '../src/cli/store-rights.ts';
import { envName } from '../src/config/env.ts';
import { jsonSchema } from '../src/config/json-schema.ts';
import { RESERVED_NAMES } from '../src/config/layers.ts';
import type { OptionRow, SectionInfo } from '../src/config/section.ts';
import { REGIONS } from '../src/config/sections/general.ts';
import { SDK_ONLY_KEYS, SECTIONS } from '../src/config/table.ts';
import { ERROR_TABLE } from '../src/errors.ts';
import { readOnlyPage } from './read-only-page.ts';
import { commandsPage, GENERATED, routesPage } from './reference-pages.ts';
import { versionedFiles } from './stated-version.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Every generated file, by its path from the root of the repository. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ...versionedFiles(ROOT),
    ['config.example.ini', exampleFile()],
    ['docs/configuration.md', configurationPage()],
    ['docs/config.schema.json', `${JSON.stringify(jsonSchema(), null, 2)}\n`],
    ['docs/errors.md', errorsPage()],
    ['docs/commands.md', commandsPage()],
    ['docs/routes.md', routesPage()],
    ['docs/read-only.md', readOnlyPage()],
    ['docs/instances.md', instancesPage()],
  ]);
}

/** The page as it is, with the rights that the scripts need now. */
function instancesPage(): string {
  const path = 'docs/instances.md';
  const page = versionedFiles(ROOT).get(path) ?? readFileSync(join(ROOT, path), 'utf8');
  return page.replace(/ACL SETUSER gcg .*/, aclLine({ prefix: 'gcg', username: null }).replaceAll('$', '$$$$'));
}

const EXAMPLE_HEAD = `# An example configuration of genesys-cloud-gateway, with all its options.
#
# Lines starting with # are comments. Lines starting with ; are disabled
# settings: remove the ; to enable one. What is set below is the default, so
# whatever you do not change can be deleted.
#
# To begin: copy this to gcg.ini (or to one of the places listed in
# docs/configuration.md), set the region, client_id and client_secret_file,
# try it with "gcg check", run it with "gcg". Keep secrets out of files that
# others can read.
#
# Values with # or ; in them need double quotes. Comments need lines of their
# own. Relative paths are taken from the folder of this file. Durations are in
# seconds, or 500ms, 2m, 1h. Booleans are true or false, yes or no, on or off.
`;

function exampleFile(): string {
  return `${EXAMPLE_HEAD}${SECTIONS.map(exampleSection).join('')}`;
}

function exampleSection({ name, doc, rows }: SectionInfo): string {
  const isOff = name === 'client';
  const lines = ['', '', ...comment(doc), isOff ? ';[client.crm]' : `[${name}]`];
  for (const option of rows)
    lines.push('', ...comment(option.doc), ...comment(option.more ?? ''), ...exampleLines(option, isOff));
  if (name === 'upstream.headers') lines.push('', ';Genesys-App = my-application');
  if (name === 'credential') {
    lines.push('', '# A second identity, in another region; it takes the same keys.', ';[credential.crm]');
    lines.push(
      ';host = eu-central-1',
      ';client_id = 00000000-0000-0000-0000-000000000000',
      ';client_secret_env = CRM_CLIENT_SECRET',
    );
  }
  return `${lines.join('\n')}\n`;
}

function exampleLines(option: OptionRow, isOff: boolean): string[] {
  if (option.isSecret) {
    return [
      '# Best from a file, which is read again when it changes, or from a variable.',
      `;${option.key}_file = /run/secrets/${option.key}`,
      `;${option.key}_env = ${option.example ?? ''}`,
    ];
  }
  if (option.default !== null) return [`${isOff ? ';' : ''}${option.key} = ${option.default}`];
  const note = option.defaultNote === undefined ? [] : comment(`Default: ${option.defaultNote}.`);
  const key = option.kind.type === 'itemList' ? `${option.key}[]` : option.key;
  return [...note, `;${key} = ${option.example ?? ''}`];
}

/** Comment lines of at most 79 columns. */
function comment(text: string): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ').filter((part) => part !== '')) {
    if (line.length + 1 + word.length > 79) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return line === '#' ? lines : [...lines, line];
}

function configurationPage(): string {
  const regions = Object.entries(REGIONS).map(([name, domain]) => `| \`${name}\` | \`${domain}\` |`);
  return `# Configuration

${GENERATED}

Every option of the gateway, and where its value comes from: from flags, then the environment, then the configuration file, then \`GCG_DEFAULT_*\` (by which an image or \
a unit presets options, \`GCG_DEFAULT_SERVER_LISTEN\`), then the defaults.
\`gcg config\` shows the effective values and where each came from; \`gcg check\` reports everything that is wrong, \
with file and line.
[config.example.ini](../config.example.ini) explains every option where it is set.

## The file

The first of these that exists is used; \`--config FILE\` or \`GCG_CONFIG\` names another. One that is found like \
this must belong to you or to root: a file of another user is refused, because it would choose which commands are \
run and where your secrets go. Name it when you trust it.

1. \`./gcg.ini\`, \`./gcg.json\`
2. \`$XDG_CONFIG_HOME/genesys-cloud-gateway/config.ini\` and \`.json\` (\`~/.config\` when it is not set; on Windows \
\`%APPDATA%\`)
3. \`/etc/genesys-cloud-gateway/config.ini\` and \`.json\` (not on Windows)
4. \`~/.genesyscloudjavascript/config\`, the file of the Genesys Cloud JavaScript SDK. Its \`[gateway]\` section is \
ignored, because there it points at this gateway.

INI and JSON carry the same sections and keys and are told apart by their content. In JSON, sections are objects and \
names nest:
\`{"general": {"host": "mypurecloud.de"}, "credential": {"client_id": "…", "crm": {"client_id": "…"}}}\`.
[config.schema.json](config.schema.json) is a JSON Schema for editors.

- Reading is strict: an unknown section or key, a value that cannot be read, a key given twice is an error. At most \
1 MiB of UTF-8.
- A file that is to be read is a plain one, whether through links or not. A pipe (also \`--config <(…)\` and \
\`/dev/stdin\`), a device, a socket or a folder is refused at once: the file is read again at each reload, and what \
never ends would stop everything.
- A file with a command in it must belong to you or to root, and so must its folder; nobody else may write to \
either. A sticky folder (\`/tmp\`, a mount of Kubernetes) is good for a file that is yours or root's.
- A comment is a line of its own that begins with \`#\` or \`;\`. A value that holds one of them is written in \
double quotes (a JSON string), in single quotes (as it is), or with \`\\#\` and \`\\;\`.
- A list is \`key[] = …\` in several lines, or a JSON array. Lists marked "commas" can also be one line with commas.
- A duration is a number of seconds, or \`500ms\`, \`2m\`, \`1h\`. A boolean is true, yes, on, 1 or false, no, off, 0.
- A relative path is taken from the folder of the file that holds it; in the environment and in flags, from the \
working directory. \`~/\` is the home folder.
- These keys are known to SDKs only; they are accepted with a warning and have no effect: \
${[...SDK_ONLY_KEYS].map((key) => `\`${key}\``).join(', ')}.

## Names

\`[credential]\` is named \`default\`; further ones are \`[credential.NAME]\`, clients are \`[client.NAME]\`.
A name is made of \`a-z\`, \`0-9\` and hyphens and begins with a letter or digit; \
${[...RESERVED_NAMES].map((name) => `\`${name}\``).join(', ')} are taken.
The default credential is the one with \`default = true\`, else \`[credential]\`, else the only one there is.

## The environment

\`GCG_<SECTION>_<KEY>\`, \`GCG_CREDENTIAL_<NAME>_<KEY>\` and \`GCG_CLIENT_<NAME>_<KEY>\`, in capitals, with \`_\` \
for every hyphen and dot: \`client_id\` of \`[credential.my-crm]\` is \`GCG_CREDENTIAL_MY_CRM_CLIENT_ID\`.
The longest known key at the end counts, and the rest is the name, so \`GCG_CREDENTIAL_CLIENT_ID\` belongs to \
\`[credential]\`. A \`GCG_\` variable that fits no option is a warning.
A list whose items may hold commas is one item a line, or a JSON array.

Only when no configuration file is in use: \`GENESYSCLOUD_REGION\`, \`GENESYSCLOUD_OAUTHCLIENT_ID\`, \
\`GENESYSCLOUD_OAUTHCLIENT_SECRET\`, \`GENESYSCLOUD_ACCESS_TOKEN\`.

## Secrets

A secret \`X\` is given as \`X\`, as \`X_file\` (a file that holds it; read again when it changes, one newline at \
its end is not part of it) or as \`X_env\` (the variable that holds it; read once).
A credential's \`client_secret\` can also be what a program prints (\`client_secret_command[]\`), for key chains and vaults: run without a shell and with only PATH, HOME and LANG, for at most 10 s. What it prints, less one newline, is kept in memory; it runs again when the platform refuses the secret, and on SIGHUP or \`POST /-/reload\`. Let the program read its own token from a file: arguments are visible to other users. One that cannot be run, or that everybody may change, is warned of.
Two of them in one source are an error; in different sources the higher one counts. A secret is never taken from a \
flag, where other users see it.

## Options

"Restart": a change counts after a restart, and the gateway says so; all others are taken over while it runs.

${SECTIONS.map(sectionTable).join('\n')}
## Regions

\`host\` takes a domain, \`api.\` in front of it or not, with \`https://\` or not, or a region name with hyphens or \
underscores.

| name | domain |
| --- | --- |
${regions.join('\n')}
`;
}

function sectionTable({ name, doc, isNamed, rows }: SectionInfo): string {
  if (name === 'upstream.headers') {
    return (
      `### \`[${name}]\`\n\n${doc} In the environment \`GCG_UPSTREAM_HEADERS_GENESYS_APP\` is ` +
      `\`Genesys-App\`. Headers that the gateway sets or removes itself are refused.\n`
    );
  }
  const title = name === 'client' ? '[client.NAME]' : `[${name}]${isNamed ? `, [${name}.NAME]` : ''}`;
  const options = rows.map((option) => {
    const variable = envName(name, name === 'client' ? 'NAME' : '', option.key);
    return `| \`${option.key}\` | ${defaultCell(option)} | \`${variable}\` | ${docCell(option)} |`;
  });
  const table = ['| key | default | environment | |', '| --- | --- | --- | --- |', ...options];
  return `### \`${title}\`\n\n${doc}\n\n${table.join('\n')}\n`;
}

function defaultCell(option: OptionRow): string {
  if (option.default !== null) return `\`${option.default}\``;
  return option.defaultNote ?? '';
}

function docCell({ doc, more, kind, isSecret, reload }: OptionRow): string {
  const marks = [
    isSecret ? 'Secret.' : '',
    kind.type === 'commaList' ? 'List (commas).' : kind.type === 'itemList' ? 'List.' : '',
    reload === 'restart' ? 'Restart.' : '',
  ];
  return [doc, more ?? '', ...marks]
    .filter((part) => part !== '')
    .join(' ')
    .replaceAll('|', '\\|');
}

const SIDES = {
  caller: 'The caller',
  token: 'Tokens',
  upstream: 'Genesys Cloud',
  proxy: 'The corporate proxy',
  gateway: 'The gateway itself',
} as const;

function errorsPage(): string {
  const tables = Object.entries(SIDES).map(([side, title]) => {
    const rows = Object.entries(ERROR_TABLE).filter(([, row]) => row.side === side);
    return (
      `## ${title}\n\n| code | status | meaning |\n| --- | --- | --- ` +
      `|\n${rows.map(([code, { status, meaning }]) => `| \`${code}\` | ${status} | ${meaning} |`).join('\n')}\n`
    );
  });
  return `# Errors

${GENERATED}

Every error that the gateway makes itself, with its status and what it means. Each carries the header \`X-Gateway-Error\` with its code. Genesys Cloud \
cannot set that header: it is removed from its answers. Every other answer is Genesys Cloud's own.

The body has the platform's own shape, with the code in \`code\` and the request id in \`contextId\`:

\`\`\`json
{"message": "…", "code": "gateway.credential.rejected", "status": 424, "contextId": "…", "details": [], "errors": []}
\`\`\`

On \`/oauth/token\`, and on a wrong path that ends so, it has the shape of OAuth: \
\`{"error", "description", "error_description"}\`. A \`Retry-After\` \
header says when trying again makes sense.

${tables.join('\n')}
See also: [when a call fails](troubleshooting.md) · [what happens for each fault](faults.md) · [all pages](README.md)
`;
}

if (import.meta.main) {
  for (const [path, text] of generatedFiles()) writeFileSync(new URL(`../${path}`, import.meta.url), text);
}
