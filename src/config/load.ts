// Loads the configuration: finds the file, merges flags, environment, file, presets and defaults, checks everything and reports
// all problems at once. Keeps no state, so it can be called again at any time (reload).

import { checkAccess, checkConfigFile } from './access-rules.ts';
import { type EffectiveSetting, effectiveSettings } from './effective.ts';
import { PRESET_PREFIX, readEnvironment, readGenesysEnvironment, readPresets } from './env.ts';
import { parseConfigText, pathsOf, searchPath } from './file.ts';
import { type FileSearch, type Findings, type FoundFile, findFile, ownUid } from './find-file.ts';
import type { Overrides } from './flags.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { type Layer, mergeLayers, type Settings } from './layers.ts';
import { isReachable } from './listen-address.ts';
import { onOneLine, type Problem, withoutUserInfo } from './problem.ts';
import type { SectionContext } from './section.ts';
import { client, knownCredentials, readClients, warnOfIdleRules } from './sections/client.ts';
import { readCredentials, warnOfIdleTokens } from './sections/credential.ts';
import { general, readRegions } from './sections/general.ts';
import { inspector } from './sections/inspector.ts';
import { readAudit, readLogging } from './sections/process.ts';
import { readProxy } from './sections/proxy.ts';
import { readServer } from './sections/server.ts';
import { readStore } from './sections/store.ts';
import { readTracing } from './sections/tracing.ts';
import {
  rateLimit as rateLimitSection,
  readRetry,
  readTls,
  readUpstreamHeaders,
  reauthentication,
  timeouts,
} from './sections/traffic.ts';
import type { RawEntry, RawSource } from './values.ts';

export type { Overrides, Problem };

/** All that the result depends on, besides the files. */
export interface LoadInput extends FileSearch {
  readonly overrides?: Overrides;
  /** Whether standard output is a terminal: decides the default of `log_format`. */
  readonly isTTY?: boolean;
  /** Without a credential the configuration is refused (true), unless the caller can do without. */
  readonly requireCredential?: boolean;
  /** The time now, epoch ms; by default the system's. */
  readonly now?: number;
  /** Replaces what is written, before it is read: for commands that use a configuration in another place than it is for. */
  readonly substitute?: (layers: readonly Layer[]) => readonly Layer[];
}

/** A whole configuration, with the settings in effect and where each comes from; or all that is wrong with it. */
export type LoadResult =
  | {
      readonly ok: true;
      readonly config: GatewayConfig;
      readonly warnings: readonly Problem[];
      readonly settings: readonly EffectiveSetting[];
    }
  | {
      readonly ok: false;
      readonly problems: readonly Problem[];
      readonly warnings: readonly Problem[];
      /** Files that settings point to: one of them may be what is wrong. */
      readonly referencedFiles?: readonly string[];
      /** A function, so that no problem report ever writes a configuration out. */
      readonly readable: () => ReadableConfig;
    };

/** What can be read of a configuration that is refused, for commands that only have to find the running gateway. */
export interface ReadableConfig {
  /** Defaults stand in the place of what cannot be read. */
  readonly config: GatewayConfig;
  /** Whether somebody wrote down where the gateway is: no secret may be sent to an address that is only a guess. */
  readonly isAddressCertain: boolean;
}

/** Loads the configuration. Never throws for wrong settings; synchronous, since nothing can start without it. */
export function loadConfig(input: LoadInput): LoadResult {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const findings = { problems, warnings };
  const file = findFile(input, findings);
  // Without the file that was named, all the rest would look wrong.
  if (problems.length > 0) return { ok: false, problems, warnings, readable: () => readWithoutFile(input) };
  const fromFile = file === undefined ? undefined : readSource(file, findings);
  const layers = [
    ...outerLayers(input, file, findings),
    ...fileLayer(input, file, fromFile),
    presetLayer(input, findings),
  ];
  const settings = mergeLayers(input.substitute?.(layers) ?? layers, findings);
  if (file !== undefined && input.platform !== 'win32') {
    const { display } = file.candidate;
    checkConfigFile(settings, { ...file, display, ownUid: ownUid(input) }, problems, warnings);
  }
  const context: LoadContext = {
    ...input,
    ...findings,
    settings,
    referencedFiles: new Set(),
    isIncomplete: fromFile?.isIncomplete ?? false,
  };
  const config = buildConfig(context, input, file === undefined ? [] : [file.candidate.path]);
  if (problems.length > 0) {
    return {
      ok: false,
      problems: inOrder(once(problems)),
      warnings: once(warnings),
      referencedFiles: [...context.referencedFiles],
      readable: () => ({ config, isAddressCertain: isAddressCertain(context, config) }),
    };
  }
  let effective: readonly EffectiveSetting[] | undefined;
  return {
    ok: true,
    config,
    warnings: once(warnings),
    // Few commands ask.
    get settings() {
      effective ??= effectiveSettings(settings, config, input.env);
      return effective;
    },
  };
}

/** What flags and environment say, where the file cannot be had. */
function readWithoutFile(input: LoadInput): ReadableConfig {
  const findings = { problems: [], warnings: [] };
  const settings = mergeLayers(outerLayers(input, undefined, findings), findings);
  const context: LoadContext = { ...input, ...findings, settings, referencedFiles: new Set(), isIncomplete: true };
  const config = buildConfig(context, input, []);
  return { config, isAddressCertain: isAddressCertain(context, config) };
}

/** The settings by which the gateway is found, and by which what answers is known to be it. */
const FINDING = /^server\.(?:listen|admin_listen|tls\..*)$/;

/**
 * An address by a flag is certain on this machine alone where the rest of `[server]` was not read: whether it has TLS
 * is not known then.
 */
function isAddressCertain({ problems, settings, isIncomplete }: LoadContext, { server }: GatewayConfig): boolean {
  if (problems.some(({ key }) => FINDING.test(key))) return false;
  if (!isIncomplete && settings.isServerWhole) return true;
  const id = { section: 'server', name: '' };
  const decisive = settings.get(id, 'admin_listen') ?? settings.get(id, 'listen');
  return decisive?.layer === FLAGS && !server.adminListen.some(isReachable);
}

/** The place of the flags among the layers. */
const FLAGS = 0;

interface LoadContext extends SectionContext {
  readonly settings: Settings;
}

/** What is set outside the file: flags, then the environment. */
function outerLayers(input: LoadInput, file: FoundFile | undefined, { warnings }: Findings): Layer[] {
  const baseFolder = input.cwd;
  const fromEnv = readEnvironment(input.env);
  const fromGenesys = file === undefined ? readGenesysEnvironment(input.env) : { entries: [], warnings: [] };
  warnings.push(...fromEnv.warnings, ...fromGenesys.warnings);
  return [
    { entries: input.overrides?.entries ?? [], baseFolder, laterWins: true },
    { entries: fromEnv.entries, baseFolder },
    { entries: fromGenesys.entries, baseFolder },
  ];
}

function fileLayer({ platform }: LoadInput, file: FoundFile | undefined, source: RawSource | undefined): Layer[] {
  if (file === undefined || source === undefined) return [];
  return [{ ...source, baseFolder: pathsOf(platform).dirname(file.candidate.path), isFile: true }];
}

/** What the image or the unit sets for everybody: the file counts more. */
function presetLayer({ env, cwd }: LoadInput, { warnings }: Findings): Layer {
  const presets = readPresets(env);
  warnings.push(...presets.warnings);
  return { entries: presets.entries, baseFolder: cwd };
}

/** Reads the file. In the SDK's own file, [gateway] points the SDK at us, so we ignore that section. */
function readSource({ candidate, bytes }: FoundFile, { problems, warnings }: Findings): RawSource {
  const source = parseConfigText(bytes, candidate.display);
  problems.push(...source.problems);
  if (!candidate.isSdkDefault) return source;
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

function buildConfig(context: LoadContext, input: LoadInput, files: readonly string[]): GatewayConfig {
  const { config: server, reader: serverReader } = readServer(context);
  const regions = readRegions(context, [...server.listen, ...server.adminListen, ...server.healthListen]);
  const credentials = readCredentials(context, regions);
  const rateLimit = rateLimitSection.read(context);
  if (rateLimit.mode === 'off') warnOfIdleTokens(context, credentials);
  const { now = Date.now() } = input;
  const clients = readClients(context, { credentials, server, rateLimitMode: rateLimit.mode, now });
  const anonymous = server.anonymousCredentials ?? [];
  const names = credentials.map(({ name }) => name);
  if (!anonymous.includes('*')) knownCredentials(anonymous, names, serverReader, 'anonymous_credentials');
  warnOfIdleRules(serverReader, { anonymous_allow: server.anonymousAllow, anonymous_deny: server.anonymousDeny });
  const listenFrom = context.settings.get({ section: 'server', name: '' }, 'listen')?.location ?? '';
  checkAccess(
    { server, clients, isListenPreset: listenFrom.startsWith(`env ${PRESET_PREFIX}`) },
    serverReader,
    (name) => client.reader(context, name),
  );
  const logging = readLogging(context, input.isTTY ?? false);
  const config: GatewayConfig = {
    files,
    general: { hosts: regions.general, ...general.reader(context).values('host', 'unsafe_unlisted_host') },
    server,
    credentials,
    reauthentication: reauthentication.read(context),
    logging,
    audit: readAudit(context, logging),
    inspector: inspector.read(context),
    tracing: readTracing(context, [...server.listen, ...server.adminListen, ...server.healthListen]),
    proxy: readProxy(context),
    tls: readTls(context),
    timeouts: timeouts.read(context),
    retry: readRetry(context),
    rateLimit,
    clients,
    store: readStore(context, credentials, clients),
    upstreamHeaders: readUpstreamHeaders(context.settings.headers, context.problems),
    referencedFiles: [...context.referencedFiles],
  };
  const isCertain = !context.isIncomplete && context.settings.areSectionsKnown;
  if (credentials.length === 0 && (input.requireCredential ?? true) && isCertain) {
    const message =
      'no credential is configured; set client_id and client_secret in a [credential] ' +
      `section${files.length === 0 ? ' of gcg.ini' : ''}, or GCG_CREDENTIAL_CLIENT_ID and ` +
      'GCG_CREDENTIAL_CLIENT_SECRET; "gcg init" writes one, "gcg demo" needs none' +
      (files.length === 0 ? `; no file was found: ${whereLooked(input)}` : '');
    context.problems.push({ location: files[0] ?? 'configuration', key: 'credential', message });
  }
  return config;
}

/** Where a file was looked for, folder by folder. */
function whereLooked(input: LoadInput): string {
  const names = searchPath(input).map(({ path, display }) => (path === display ? path : `./${display}`));
  return `looked for ${names.join(', ').replace(/config\.ini, \S*config\.json/g, 'config.{ini,json}')}`;
}

/** Removes repetitions, since some values are read twice, and masks passwords in URLs wherever the URL was written. */
function once(problems: readonly Problem[]): Problem[] {
  const safe = problems.map(({ location, key, message }) => ({
    location,
    key,
    message: withoutUserInfo(onOneLine(message)),
  }));
  return [...new Map(safe.map((problem) => [JSON.stringify(problem), problem])).values()];
}

/** Sorts by line, so that a person can go through the file from top to bottom; the others keep their order. */
function inOrder(problems: readonly Problem[]): Problem[] {
  const lineOf = ({ location }: Problem) => Number(/:(\d+)(?::\d+)?$/.exec(location)?.[1] ?? Number.POSITIVE_INFINITY);
  return problems.toSorted((a, b) => {
    const [lineA, lineB] = [lineOf(a), lineOf(b)];
    return lineA === lineB ? 0 : lineA - lineB;
  });
}
