// Loads a configuration from texts in memory, as loadConfig would from files; and picks problems out of the result.

import { parseSetFlag } from '../../../src/config/flags.ts';
import type { GatewayConfig } from '../../../src/config/gateway-config.ts';
import { type LoadInput, type LoadResult, loadConfig } from '../../../src/config/load.ts';
import { formatProblem } from '../../../src/config/problem.ts';
import type { FileName } from '../../../src/fs/permissions.ts';

export interface Given extends Partial<LoadInput> {
  /** Content of ./gcg.ini. */
  readonly file?: string;
  /** Other files by path. */
  readonly files?: Readonly<Record<string, string>>;
  readonly mode?: number;
  /** Whose the files are; ours unless given. */
  readonly owner?: number;
  /** By what names they were reached. */
  readonly names?: readonly FileName[];
  readonly set?: readonly string[];
}

/** Whom the texts are loaded as. */
export const OWN_UID = 1000;

export const CREDENTIAL = '[credential]\nclient_id = an-id\nclient_secret = a-secret\n';

/** A configuration with a credential; `extra` is INI text after it. */
export function withCredential(extra: string, given: Given = {}): LoadResult {
  return load({ ...given, file: `${CREDENTIAL}${extra}` });
}

export function load({
  file,
  files = {},
  mode = 0o600,
  owner = OWN_UID,
  names = [],
  set = [],
  ...input
}: Given): LoadResult {
  const all = new Map(Object.entries({ ...files, ...(file === undefined ? {} : { '/srv/app/gcg.ini': file }) }));
  const entries = set.map((text) => {
    const parsed = parseSetFlag(text);
    if (!parsed.ok) throw new Error(parsed.message);
    return parsed.value;
  });
  return loadConfig({
    env: {},
    cwd: '/srv/app',
    home: '/home/someone',
    platform: 'linux',
    requireCredential: false,
    uid: OWN_UID,
    overrides: { entries },
    readFile(path) {
      const text = all.get(path);
      if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return { bytes: Buffer.from(text), mode, uid: owner, names };
    },
    ...input,
  });
}

/** The configuration; throws with all problems when there are any. */
export function good(result: LoadResult): GatewayConfig {
  if (!result.ok) throw new Error(problems(result).join('\n'));
  return result.config;
}

export function problems(result: LoadResult): string[] {
  return result.ok ? [] : result.problems.map(formatProblem);
}

export function warnings(result: LoadResult): string[] {
  return result.warnings.map(formatProblem);
}
