// `gcg init`: writes a configuration from flags and from answers to questions.

import { lstatSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type Readable, Writable } from 'node:stream';
import { LARGEST_FILE_BYTES } from '../../config/file.ts';
import { loadConfig } from '../../config/load.ts';
import { parseRegion } from '../../config/sections/general.ts';
import { createFile, replaceFile } from '../../fs/atomic-write.ts';
import { isOursOrRoots } from '../../fs/permissions.ts';
import { FileRefusal, type PlainFile, readPlainFileSync } from '../../fs/plain-file.ts';
import { looksLikeClientId } from '../../secret.ts';
import type { CommandLine } from '../args.ts';
import { type DraftCredential, redirectUris, renderConfigFile, SECRET_VARIABLE } from '../config-template.ts';
import { readGcProfiles } from '../gc-profiles.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';

const GRANTS: readonly string[] = ['client_credentials', 'authorization_code', 'pkce', 'saml2_bearer', 'implicit'];
const DEFAULT_REGION = 'https://api.mypurecloud.com';

/**
 * 0 written, 2 for what is missing or wrong in flags, 1 when the file is there, cannot be written, or the person
 * stopped. `ask` is null where nobody can be asked. `tryOnline` is `gcg check --online`, which is offered where no
 * login of a person is needed; its exit code counts then.
 */
export async function init(
  args: CommandLine,
  io: Io,
  ask: Ask | null = askOnTerminal(),
  tryOnline?: (args: CommandLine, io: Io) => Promise<number>,
): Promise<number> {
  const output = resolve(io.cwd, textOf(args, 'output') ?? 'gcg.ini');
  const isForced = args.flags.has('force');
  try {
    if (!isForced && exists(output))
      throw new InitRefusal(
        `${output} is there already: give --force to replace it, or another --output`,
        EXIT.failure,
      );
    const { region, credentials } = args.flags.has('from-gc')
      ? importProfiles(args, io)
      : await describe(args, ask, (words) => io.stderr.write(`${words}\n`));
    await write(output, renderConfigFile(region, credentials), isForced);
    io.stdout.write(`${output}\n`);
    tellNextSteps(io, output, credentials);
    const isGood = check(output, io);
    const isTriable = isGood && credentials.every(({ grantType, clientSecret }) => isService(grantType, clientSecret));
    if (tryOnline === undefined || ask === null || !isTriable) return EXIT.ok;
    const answer = await ask.text('Try it at Genesys Cloud now? (yes or no)', 'yes');
    if (answer === null || !/^y(es)?$/i.test(answer)) return EXIT.ok;
    return tryOnline(
      { ...args, flags: new Map([['online', true]]), overrides: { configPath: output, entries: [] } },
      io,
    );
  } catch (error) {
    if (!(error instanceof InitRefusal)) throw error;
    io.stderr.write(`gcg: ${error.message}\n`);
    return error.exitCode;
  } finally {
    ask?.close();
  }
}

class InitRefusal extends Error {
  override readonly name = 'InitRefusal';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.usage) {
    super(message);
    this.exitCode = exitCode;
  }
}

async function describe(
  args: CommandLine,
  ask: Ask | null,
  say: (words: string) => void,
): Promise<{ region: string; credentials: DraftCredential[] }> {
  const obtain = async (
    flag: string,
    given: string | null,
    question: string,
    fallback: string,
    isGood: (text: string) => string | undefined,
  ) => {
    for (;;) {
      const text = given ?? (ask === null ? fallback : answered(await ask.text(question, fallback)));
      if (text === '' && (given !== null || ask === null)) {
        throw new InitRefusal(
          given === null ? `${flag} is missing, and there is no terminal to ask at` : `${flag} is empty`,
        );
      }
      const wrong = text === '' ? 'an answer is needed here' : isGood(text);
      if (wrong === undefined) return text;
      if (given !== null || ask === null) throw new InitRefusal(`${flag} ${wrong}`);
      ask.say(wrong);
    }
  };
  const anything = () => undefined;
  const region = await obtain(
    '--host',
    regionFlag(args),
    'Region (as eu-central-1 or mypurecloud.de)',
    DEFAULT_REGION,
    (text) => {
      const parsed = parseRegion(text);
      return parsed.ok ? undefined : parsed.message;
    },
  );
  const grantType = (await obtain(
    '--grant-type',
    textOf(args, 'grant-type'),
    `How tokens are obtained (${GRANTS.join(', ')})`,
    'client_credentials',
    (text) => (GRANTS.includes(text) ? undefined : `must be one of ${GRANTS.join(', ')}`),
  )) as DraftCredential['grantType'];
  const clientId = await obtain('--client-id', textOf(args, 'client-id'), 'OAuth client id', '', anything);
  if (!looksLikeClientId(clientId))
    say('note: that id is not a UUID, and those of OAuth clients are; it is taken as it is');
  const hasSecret = grantType !== 'pkce' && grantType !== 'implicit';
  const clientSecret =
    hasSecret && ask !== null
      ? answered(await ask.secret(`Client secret (Enter alone: it is read from $${SECRET_VARIABLE} at each start)`))
      : null;
  const orgName =
    grantType === 'saml2_bearer'
      ? await obtain('--org-name', textOf(args, 'org-name'), 'Short name of the organisation', '', anything)
      : null;
  const redirectUri = textOf(args, 'redirect-uri');
  if (redirectUri !== null && !URL.canParse(redirectUri)) throw new InitRefusal('--redirect-uri is not a URL');
  return {
    region,
    credentials: [
      {
        name: 'default',
        grantType,
        host: null,
        clientId,
        clientSecret: clientSecret || null,
        accessToken: null,
        redirectUri,
        orgName,
      },
    ],
  };
}

function answered(answer: string | null): string {
  if (answer === null) throw new InitRefusal('stopped; nothing was written', EXIT.failure);
  return answer;
}

function importProfiles(args: CommandLine, io: Io): { region: string; credentials: readonly DraftCredential[] } {
  const places = [
    ...(io.home === undefined ? [] : [resolve(io.home, '.gc', 'config.toml')]),
    resolve(io.cwd, 'config.toml'),
  ];
  for (const place of places) {
    const file = readProfiles(place);
    if (file === null) continue;
    try {
      const { credentials, skipped } = readGcProfiles(file.bytes.toString('utf8'));
      for (const line of skipped) io.stderr.write(`${line}: not imported\n`);
      if (credentials.length === 0) throw new Error('it holds no profile that can be used');
      return {
        region:
          regionFlag(args) ??
          credentials.find(({ name }) => name === 'default')?.host ??
          credentials[0]?.host ??
          DEFAULT_REGION,
        credentials,
      };
    } catch (error) {
      throw new InitRefusal(`${place}: ${(error as Error).message}`, EXIT.failure);
    }
  }
  throw new InitRefusal(`there is no profile of Genesys' own CLI at ${places.join(' or ')}`, EXIT.failure);
}

/**
 * The profiles, or null where none can be read. The user did not name this file, so it has to be the user's own: one
 * that somebody else put there would choose where calls go.
 */
function readProfiles(place: string): PlainFile | null {
  let file: PlainFile;
  try {
    file = readPlainFileSync(place, LARGEST_FILE_BYTES);
  } catch (error) {
    if (!(error instanceof FileRefusal)) return null;
    throw new InitRefusal(`${place} ${error.message}`, EXIT.failure);
  }
  if (process.platform === 'win32' || isOursOrRoots(file.uid, process.geteuid?.())) return file;
  throw new InitRefusal(`${place} belongs to another user (${file.uid}); make a copy that is yours`, EXIT.failure);
}

async function write(output: string, text: string, isForced: boolean): Promise<void> {
  try {
    if (isForced) await replaceFile(output, text);
    else if (!(await createFile(output, text))) throw Object.assign(new Error('exists'), { code: 'EEXIST' });
  } catch (error) {
    throw new InitRefusal(`${output} cannot be written (${(error as NodeJS.ErrnoException).code})`, EXIT.failure);
  }
}

function tellNextSteps(io: Io, output: string, credentials: readonly DraftCredential[]): void {
  for (const uri of redirectUris(credentials)) {
    io.stderr.write(
      `Register this redirect URI with the OAuth client, in Genesys Cloud under Admin > Integrations > OAuth:\n\n  ` +
        `${uri}\n\n`,
    );
  }
  const repository = workTreeOf(dirname(output));
  if (
    repository !== null &&
    credentials.some(({ clientSecret, accessToken }) => (clientSecret ?? accessToken) !== null)
  )
    io.stderr.write(
      `warning: ${output} holds a secret and is inside the git work tree ${repository}: do not commit it\n`,
    );
  const from = dirname(output) === io.cwd && output.endsWith('/gcg.ini') ? '' : ` --config ${output}`;
  io.stderr.write(
    `Then: gcg check --online${from}, gcg serve${from}${redirectUris(credentials).length > 0 ? `, gcg login${from}` : ''}\n`,
  );
}

/** The git work tree that a folder is in; null for none. */
function workTreeOf(folder: string): string | null {
  if (exists(join(folder, '.git'))) return folder;
  return dirname(folder) === folder ? null : workTreeOf(dirname(folder));
}

/** Reads the written file once more, so that its problems are reported now and not at the first start. */
function check(output: string, io: Io): boolean {
  const result = loadConfig({ ...loadInput(io, { configPath: output, entries: [] }), requireCredential: true });
  if (!result.ok) reportProblems(io, result.problems, []);
  return result.ok;
}

function isService(grantType: DraftCredential['grantType'], secret: string | null): boolean {
  return grantType === 'client_credentials' && secret !== null;
}

function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

function textOf({ flags }: CommandLine, name: string): string | null {
  const flag = flags.get(name);
  return typeof flag === 'string' ? flag : null;
}

function regionFlag({ overrides }: CommandLine): string | null {
  const entry = overrides.entries?.find(({ section, key }) => section === 'general' && key === 'host');
  return entry?.value.type === 'text' ? entry.value.text : null;
}

/** Asks the user at a terminal. */
export interface Ask {
  /** The answer, or `fallback` for an empty one; null when the person stopped (Ctrl-C, the end of input). */
  text(question: string, fallback: string): Promise<string | null>;
  secret(question: string): Promise<string | null>;
  say(words: string): void;
  close(): void;
}

/** Returns null where stdin is no terminal. */
export function askOnTerminal({
  stdin,
  stderr,
}: {
  stdin: Readable & { isTTY?: boolean };
  stderr: Writable;
} = process): Ask | null {
  if (stdin.isTTY !== true) return null;
  let isMuted = false;
  const output = new Writable({
    write(chunk, _encoding, done) {
      if (!isMuted) stderr.write(chunk as Buffer);
      done();
    },
  });
  const lines = createInterface({ input: stdin, output, terminal: true });
  const ended = new Promise<null>((resolve) => lines.once('close', () => resolve(null)));
  // Some versions of Node reject a question that is broken off, others leave it open.
  const answerTo = (question: string) => Promise.race([lines.question(question).catch(() => null), ended]);
  return {
    async text(question, fallback) {
      const answer = await answerTo(`${question}${fallback === '' ? '' : ` [${fallback}]`}: `);
      if (answer === null) stderr.write('\n');
      return answer === null ? null : answer.trim() || fallback;
    },
    async secret(question) {
      stderr.write(`${question}: `);
      isMuted = true;
      const answer = await answerTo('');
      isMuted = false;
      stderr.write('\n');
      return answer?.trim() ?? null;
    },
    say: (words) => stderr.write(`${words}\n`),
    close: () => lines.close(),
  };
}
