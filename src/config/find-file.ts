// Which configuration file is in use: the one that is named, else the first that is there and belongs to us or root. It
// does not know what is in it.

import { isOursOrRoots } from '../fs/permissions.ts';
import {
  ClosedFolderError,
  type ConfigCandidate,
  type FileContent,
  type HostEnvironment,
  pathsOf,
  type ReadFile,
  readConfigFile,
  searchPath,
  whyUnreadable,
} from './file.ts';
import { onOneLine, type Problem } from './problem.ts';

/** What decides which file it is, besides the files. */
export interface FileSearch extends HostEnvironment {
  /** `configPath` is what `--config` names. */
  readonly overrides?: { readonly configPath?: string | undefined };
  readonly readFile?: ReadFile;
  /** The user we run as; by default the effective user id of the process. */
  readonly uid?: number;
}

/** Where problems and warnings are added. */
export interface Findings {
  readonly problems: Problem[];
  readonly warnings: Problem[];
}

/** A file that is there, and may be used. */
export interface FoundFile extends FileContent {
  readonly candidate: ConfigCandidate;
}

/** The file in use. A file that was named must exist; of the others, the first that exists is used. */
export function findFile(input: FileSearch, { problems, warnings }: Findings): FoundFile | undefined {
  const named = input.overrides?.configPath ?? input.env.GCG_CONFIG;
  const namedBy = input.overrides?.configPath === undefined ? 'env GCG_CONFIG' : 'flag --config';
  if (named !== undefined && named.trim() === '') {
    problems.push({ location: namedBy, key: '', message: 'is empty; name a file' });
    return undefined;
  }
  for (const candidate of named === undefined ? searchPath(input) : [namedCandidate(named, input)]) {
    const { path, display } = candidate;
    try {
      const file = { candidate, ...(input.readFile ?? readConfigFile)(path) };
      const foreign = named !== undefined ? undefined : findForeign(file, input);
      if (foreign === undefined) return file;
      const message =
        `belongs to another user (${foreign.uid}), and nobody named it; say --config ${display} if you trust ` +
        'it, or name a file of yours';
      problems.push({ location: display, key: '', message: onOneLine(message) });
      return undefined;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'error';
      if (named === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) continue;
      if (named !== undefined) {
        problems.push({ location: namedBy, key: '', message: onOneLine(`${display} ${whyUnreadable(error)}`) });
        return undefined;
      }
      if (!(error instanceof ClosedFolderError)) {
        problems.push({ location: display, key: '', message: whyUnreadable(error) });
        return undefined;
      }
      // In containers $HOME is often another user's: whether a file is in it cannot be known, so it is skipped.
      const location = pathsOf(input.platform).dirname(path);
      warnings.push({ location, key: '', message: 'this user may not look for a configuration there; it is left out' });
    }
  }
  return undefined;
}

/** The file, or a link that led to it, if it belongs to neither root nor us. */
function findForeign(file: FoundFile, input: FileSearch): { readonly uid: number } | undefined {
  return [file, ...file.names].find(({ uid }) => !isOursOrRoots(uid, ownUid(input)));
}

/** The user we run as; undefined on Windows, where every file has the owner 0. */
export function ownUid({ uid, platform }: Pick<FileSearch, 'uid' | 'platform'>): number | undefined {
  return platform === 'win32' ? undefined : (uid ?? process.geteuid?.());
}

/**
 * The paths a configuration is looked for at with these flags and environment, best first; for messages and for
 * watching.
 */
export function configCandidates(input: FileSearch): string[] {
  const named = input.overrides?.configPath ?? input.env.GCG_CONFIG;
  return named === undefined ? searchPath(input).map(({ path }) => path) : [namedCandidate(named, input).path];
}

function namedCandidate(named: string, input: FileSearch): ConfigCandidate {
  const paths = pathsOf(input.platform);
  const path = paths.resolve(input.cwd, named);
  const sdkDefault = input.home === undefined ? undefined : paths.join(input.home, '.genesyscloudjavascript', 'config');
  return { path, display: named, isSdkDefault: path === sdkDefault };
}
