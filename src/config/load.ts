// The one way to a GatewayConfig: find the file, lay flags, environment, file and defaults over each other, check
// everything, report all problems at once. May be called again at any time (reload); it keeps nothing.

import { isOursOrRoots } from '../fs/permissions.ts';
import { checkAccess, checkConfigFile } from './access-rules.ts';
import { readEnvironment, readGenesysEnvironment } from './env.ts';
import {
  ClosedFolderError,
  type ConfigCandidate,
  type FileContent,
  type HostEnvironment,
  parseConfigText,
  pathsOf,
  type ReadFile,
  readConfigFile,
  searchPath,
  whyUnreadable,
} from './file.ts';
import type { Overrides } from './flags.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { type Layer, mergeLayers, type RawEntry, type RawSource } from './layers.ts';
import type { SectionName } from './options/option.ts';
import { listOrigins, type OriginEntry } from './origins.ts';
import { onOneLine, type Problem, withoutUserInfo } from './problem.ts';
import { createSectionReader, type ReaderContext } from './reader.ts';
import { readClients, readCredentialNames } from './sections/clients.ts';
import { readCredentials } from './sections/credentials.ts';
import { readServer } from './sections/server.ts';
import { readStore } from './sections/store.ts';
import {
  readLogging,
  readProxy,
  readRateLimit,
  readRetry,
  readTimeouts,
  readTls,
  readUpstreamHeaders,
} from './sections/traffic.ts';
import { readUpstream } from './sections/upstream.ts';

export type { OriginEntry, Overrides, Problem };

/** Everything the outcome depends on, besides the files. */
export interface LoadInput extends HostEnvironment {
  readonly overrides?: Overrides;
  /** Whether standard output is a terminal: decides the default of `log_format`. */
  readonly isTTY?: boolean;
  /** Without a credential the configuration is refused (true), unless the caller can do without. */
  readonly requireCredential?: boolean;
  readonly readFile?: ReadFile;
  /** Whom we run as: the effective user id of the process, unless given. */
  readonly uid?: number;
}

/** A whole configuration, or all that is wrong with it. `origins` says where each value came from, secrets masked. */
export type LoadResult =
  | {
      readonly ok: true;
      readonly config: GatewayConfig;
      readonly warnings: readonly Problem[];
      readonly origins: readonly OriginEntry[];
    }
  | {
      readonly ok: false;
      readonly problems: readonly Problem[];
      readonly warnings: readonly Problem[];
      /** Files that settings point to: one of them may be what is wrong. */
      readonly referencedFiles?: readonly string[];
    };

/** Loads the configuration. Never throws for what people wrote; synchronous, since nothing can go on without it. */
export function loadConfig(input: LoadInput): LoadResult {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const file = findFile(input, problems, warnings);
  // A file that was asked for and cannot be had makes all the rest look wrong.
  if (problems.length > 0) return { ok: false, problems, warnings };
  const fromFile = file === undefined ? undefined : readSource(file, problems, warnings);
  const fromEnv = readEnvironment(input.env);
  warnings.push(...fromEnv.warnings);
  const fromGenesys = file === undefined ? readGenesysEnvironment(input.env) : { entries: [], warnings: [] };
  warnings.push(...fromGenesys.warnings);

  const layers: Layer[] = [
    { entries: input.overrides?.entries ?? [], baseFolder: input.cwd, laterWins: true },
    { entries: fromEnv.entries, baseFolder: input.cwd },
    { entries: fromGenesys.entries, baseFolder: input.cwd },
  ];
  if (file !== undefined && fromFile !== undefined) {
    layers.push({ ...fromFile, baseFolder: pathsOf(input.platform).dirname(file.place.path), isFile: true });
  }
  const settings = mergeLayers(layers, problems, warnings);
  if (file !== undefined && input.platform !== 'win32') {
    checkConfigFile(settings, { ...file, display: file.place.display, ownUid: ownUid(input) }, problems, warnings);
  }
  const context: ReaderContext = {
    ...input,
    settings,
    problems,
    warnings,
    referencedFiles: new Set(),
    isIncomplete: fromFile?.isIncomplete ?? false,
  };
  const config = buildConfig(context, input, file === undefined ? [] : [file.place.path]);
  if (problems.length > 0) {
    return {
      ok: false,
      problems: inOrder(once(problems)),
      warnings: once(warnings),
      referencedFiles: [...context.referencedFiles],
    };
  }
  return { ok: true, config, warnings: once(warnings), origins: listOrigins(settings, config, input.env) };
}

interface FoundFile extends FileContent {
  readonly place: ConfigCandidate;
}

/** The file in use. One that was asked for must be there; the others are taken when they are. */
function findFile(input: LoadInput, problems: Problem[], warnings: Problem[]): FoundFile | undefined {
  const named = input.overrides?.configPath ?? input.env.GCG_CONFIG;
  const origin = input.overrides?.configPath === undefined ? 'env GCG_CONFIG' : 'flag --config';
  if (named !== undefined && named.trim() === '') {
    problems.push({ location: origin, key: '', message: 'is empty; name a file' });
    return undefined;
  }
  const places = named === undefined ? searchPath(input) : [namedCandidate(named, input)];
  for (const place of places) {
    try {
      const file = { place, ...(input.readFile ?? readConfigFile)(place.path) };
      if (named !== undefined) return file;
      const foreign = [file, ...file.names].find(({ uid }) => !isOursOrRoots(uid, ownUid(input)));
      if (foreign === undefined) return file;
      const message =
        `belongs to another user (${foreign.uid}), and nobody named it; say --config ${place.display} if you trust ` +
        'it, or name a file of yours';
      problems.push({ location: place.display, key: '', message: onOneLine(message) });
      return undefined;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'error';
      if (named === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) continue;
      // $HOME is often another user's in a container: whether there is a file nobody here can know, and it is not the
      // end.
      if (named === undefined && error instanceof ClosedFolderError) {
        const location = pathsOf(input.platform).dirname(place.path);
        warnings.push({
          location,
          key: '',
          message: 'this user may not look for a configuration there; it is left out',
        });
        continue;
      }
      const message =
        named === undefined ? whyUnreadable(error) : onOneLine(`${place.display} ${whyUnreadable(error)}`);
      problems.push({ location: named === undefined ? place.display : origin, key: '', message });
      return undefined;
    }
  }
  return undefined;
}

/** Undefined on Windows, where every file says 0. */
function ownUid({ uid, platform }: LoadInput): number | undefined {
  return platform === 'win32' ? undefined : (uid ?? process.geteuid?.());
}

/**
 * The places a configuration is looked for with these flags and environment, best first; for messages and for watching.
 */
export function configCandidates(input: HostEnvironment & { readonly overrides?: Overrides }): string[] {
  const named = input.overrides?.configPath ?? input.env.GCG_CONFIG;
  return named === undefined ? searchPath(input).map(({ path }) => path) : [namedCandidate(named, input).path];
}

function namedCandidate(named: string, input: HostEnvironment): ConfigCandidate {
  const paths = pathsOf(input.platform);
  const path = paths.resolve(input.cwd, named);
  const sdkDefault = input.home === undefined ? undefined : paths.join(input.home, '.genesyscloudjavascript', 'config');
  return { path, display: named, isSdkDefault: path === sdkDefault };
}

/** In the file that the SDK reads by default, [gateway] tells the SDK to come to us: for ourselves it is left out. */
function readSource({ place, bytes }: FoundFile, problems: Problem[], warnings: Problem[]): RawSource {
  const source = parseConfigText(bytes, place.display);
  problems.push(...source.problems);
  if (!place.isSdkDefault) return source;
  const isGateway = ({ section }: { section: string }) => section === 'gateway' || section.startsWith('gateway.');
  const first: RawEntry | undefined = source.entries.find(isGateway);
  if (first === undefined) return source;
  const message =
    "the [gateway] section is ignored, because this is the SDK's own file, where it points at us; use a file of " +
    'our own to set it';
  warnings.push({ location: first.location, key: 'gateway', message });
  return {
    ...source,
    entries: source.entries.filter((e) => !isGateway(e)),
    sections: source.sections.filter((s) => !isGateway(s)),
  };
}

function buildConfig(context: ReaderContext, input: LoadInput, files: readonly string[]): GatewayConfig {
  const read = (section: SectionName) => createSectionReader(context, section);
  const serverReader = read('server');
  const server = readServer(serverReader, read('server.tls'), context);
  const general = read('general');
  const upstream = readUpstream(general, read('gateway'), [
    ...server.listen,
    ...server.adminListen,
    ...server.healthListen,
  ]);
  const credentials = readCredentials(context, upstream);
  const rateLimit = readRateLimit(read('rate_limit'));
  const clients = readClients(context, {
    credentials,
    hasClientCa: server.tls !== null && server.tls.clientCaFile !== null,
    rateLimitMode: rateLimit.mode,
  });
  const names = credentials.map(({ name }) => name);
  if (server.anonymousCredentials !== null && !server.anonymousCredentials.includes('*'))
    readCredentialNames(serverReader, 'anonymous_credentials', names);
  checkAccess({ server, clients }, serverReader, (client) => createSectionReader(context, 'client', client));
  const reauthentication = read('reauthentication');
  const config: GatewayConfig = {
    files,
    general: { hosts: upstream.general, liveReloadConfig: general.boolean('live_reload_config') },
    server,
    credentials,
    reauthentication: {
      refreshAccessToken: reauthentication.boolean('refresh_access_token'),
      refreshTokenWaitMaxMs: reauthentication.durationMs('refresh_token_wait_max'),
    },
    logging: readLogging(read('logging'), input.isTTY ?? false),
    proxy: readProxy(read('proxy')),
    tls: readTls(read('tls'), context),
    timeouts: readTimeouts(read('timeouts')),
    retry: readRetry(read('retry')),
    rateLimit,
    clients,
    store: readStore(read('store'), { credentials, clients }, context),
    upstreamHeaders: readUpstreamHeaders(context),
    referencedFiles: [...context.referencedFiles],
  };
  if (credentials.length === 0 && (input.requireCredential ?? true) && context.problems.length === 0) {
    const message =
      'no credential is configured; set client_id and client_secret in a [credential] ' +
      `section${files.length === 0 ? ' of gcg.ini' : ''}, or GCG_CREDENTIAL_CLIENT_ID and ` +
      'GCG_CREDENTIAL_CLIENT_SECRET; "gcg init" writes one, "gcg demo" needs none';
    context.problems.push({ location: files[0] ?? 'configuration', key: 'credential', message });
  }
  return config;
}

/**
 * A value that is read in two places is complained about once; and a password in a URL is masked wherever the URL was
 * put.
 */
function once(problems: readonly Problem[]): Problem[] {
  const safe = problems.map(({ location, key, message }) => ({
    location,
    key,
    message: withoutUserInfo(onOneLine(message)),
  }));
  return [...new Map(safe.map((problem) => [JSON.stringify(problem), problem])).values()];
}

/** By file and line, so that a person can go through the file from top to bottom; the others keep their order. */
function inOrder(problems: readonly Problem[]): Problem[] {
  const lineOf = ({ location }: Problem) => Number(/:(\d+)(?::\d+)?$/.exec(location)?.[1] ?? Number.POSITIVE_INFINITY);
  return problems.toSorted((a, b) => {
    const [lineA, lineB] = [lineOf(a), lineOf(b)];
    return lineA === lineB ? 0 : lineA - lineB;
  });
}
