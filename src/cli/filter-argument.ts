// The filter of a command line that chooses calls: the words of the command, and the flags that stand for terms.

import { onOneLine } from '../config/problem.ts';
import { FilterError, parseFilter } from '../inspector/filter.ts';
import type { CommandLine } from './args.ts';

/** A filter that can be read, or what is wrong with it. */
export type FilterArgument = { readonly filter: string } | { readonly problem: string };

/** Reads the words, `--since` and `--failures` as one filter. */
export function filterArgument({ flags, positionals }: Pick<CommandLine, 'flags' | 'positionals'>): FilterArgument {
  const words = positionals.join(' ');
  const since = flags.get('since');
  const terms = [
    since === undefined ? '' : `since:${since}`,
    flags.has('failures') ? 'failed:yes' : '',
    words === '' ? '' : `(${words})`,
  ];
  const filter = terms.filter(Boolean).join(' ');
  try {
    // Alone first, so that the column is one of what was written.
    if (words !== '') parseFilter(words);
    parseFilter(filter);
    return { filter };
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    return { problem: `${onOneLine(error.message)} (column ${error.column} of the filter)` };
  }
}
