// What the readers of all sections share while one configuration is read.

import type { Problem } from './problem.ts';
import type { Settings } from './settings.ts';

/** What reading depends on besides the settings. */
export interface ReaderContext {
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string | undefined;
  readonly platform: NodeJS.Platform;
  readonly problems: Problem[];
  readonly warnings: Problem[];
  /** Files that settings refer to; grows as they are read. */
  readonly referencedFiles: Set<string>;
  /** Settings were lost to mistakes that are reported already: nothing is called missing then. */
  readonly isIncomplete: boolean;
}
