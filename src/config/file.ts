// Finds and reads the configuration file: where it may be, how large, in which encoding, INI or JSON. It does not know
// the options.

import { lstatSync } from 'node:fs';
import { posix, win32 } from 'node:path';
import { type FileName, namesOf } from '../fs/permissions.ts';
import { readPlainFileSync, whyNotRead } from '../fs/plain-file.ts';
import { parseIni } from './ini.ts';
import { parseJson } from './json.ts';
import type { RawSource } from './values.ts';

/** The largest configuration file. People write it by hand; a larger file is a wrong path. */
export const LARGEST_FILE_BYTES = 1024 * 1024;

/** Content of a file, its permission bits and owner, and the names that led to it. */
export interface FileContent {
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly names: readonly FileName[];
}

/** Reads a file or throws an error with a `code`, as node:fs does. */
export type ReadFile = (path: string) => FileContent;

/** The machine and process that the configuration is for. */
export interface HostEnvironment {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** The home folder; undefined when there is none. */
  readonly home: string | undefined;
  readonly platform: NodeJS.Platform;
}

/** A path at which the configuration may be. `display` is how messages name it. */
export interface ConfigCandidate {
  readonly path: string;
  readonly display: string;
  /** The default file of the JavaScript SDK: its [gateway] section points at us. */
  readonly isSdkDefault: boolean;
}

/** node:path for the platform the configuration is for. */
export function pathsOf(platform: NodeJS.Platform): typeof posix {
  return platform === 'win32' ? win32 : posix;
}

/** The paths that are tried when neither --config nor GCG_CONFIG names one, best first. */
export function searchPath({ env, cwd, home, platform }: HostEnvironment): ConfigCandidate[] {
  const paths = pathsOf(platform);
  const candidates: ConfigCandidate[] = ['gcg.ini', 'gcg.json'].map((name) => ({
    path: paths.join(cwd, name),
    display: name,
    isSdkDefault: false,
  }));
  const add = (path: string, isSdkDefault = false) => candidates.push({ path, display: path, isSdkDefault });
  const addFolder = (...folder: string[]) => {
    for (const name of ['config.ini', 'config.json']) add(paths.join(...folder, 'genesys-cloud-gateway', name));
  };
  const xdg = env.XDG_CONFIG_HOME;
  if (xdg !== undefined && paths.isAbsolute(xdg)) addFolder(xdg);
  else if (platform === 'win32' && env.APPDATA) addFolder(env.APPDATA);
  else if (home !== undefined) addFolder(home, '.config');
  if (platform !== 'win32') addFolder('/etc');
  if (home !== undefined) add(paths.join(home, '.genesyscloudjavascript', 'config'), true);
  return candidates;
}

/** The folder of a file cannot be entered, so the file may or may not exist. */
export class ClosedFolderError extends Error {
  override readonly name = 'ClosedFolderError';
  readonly code = 'EACCES';
}

/** Why a file could not be read and what to do; follows the file's name. */
export function whyUnreadable(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist; fix the path, or let "gcg init" write one';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by this user; change its owner or its permissions';
    case 'ELOOP':
      return 'is a link that leads to itself; fix the link';
    default:
      return whyNotRead(error);
  }
}

/** Reads a plain file of at most LARGEST_FILE_BYTES. Throws FileRefusal and ClosedFolderError too. */
export const readConfigFile: ReadFile = (path) => {
  try {
    return { ...readPlainFileSync(path, LARGEST_FILE_BYTES), names: namesOf(path) };
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EACCES' && !canBeSeen(path) ? new ClosedFolderError(path) : error;
  }
};

function canBeSeen(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Decodes and reads a configuration; INI unless the first thing in it is `{`. Never throws. */
export function parseConfigText(bytes: Uint8Array, display: string): RawSource {
  const failed = (message: string): RawSource => ({
    entries: [],
    sections: [],
    problems: [{ location: display, key: '', message }],
    isIncomplete: true,
  });
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    return failed('the file is UTF-16; save it as UTF-8');
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return failed('the file is not UTF-8 text; save it as UTF-8');
  }
  if (text.includes('\0'))
    return failed('the file is binary (it holds NUL bytes); a configuration is INI or JSON text');
  return isJsonText(text) ? parseJson(text, display) : parseIni(text, display);
}

/** Whether text is JSON. The SDKs try INI first and JSON where there is no section line, which has the same result. */
function isJsonText(text: string): boolean {
  return /^\s*\{/.test(text);
}
