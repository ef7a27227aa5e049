// The list of views. A new one is a row here and a file that exports `openView`.

import type { OpenView } from './view.ts';

/** A row of the list. */
export interface ViewEntry {
  /** First part of the address, `#/calls`. */
  readonly id: string;
  readonly title: string;
  /** Opens it after `g`; null: not by a key. */
  readonly key: string | null;
  /** Whether the head of the page leads there. */
  readonly isInHead: boolean;
  readonly load: () => Promise<{ readonly openView: OpenView }>;
}

/** All views, in the order of the head; the first is shown where the address names none. */
export const VIEWS: readonly [ViewEntry, ...ViewEntry[]] = [
  { id: 'calls', title: 'Calls', key: 'c', isInHead: true, load: () => import('./calls-view.ts') },
  { id: 'tokens', title: 'Tokens', key: 't', isInHead: true, load: () => import('./tokens-view.ts') },
  { id: 'limits', title: 'Limits', key: 'l', isInHead: true, load: () => import('./limits-view.ts') },
  { id: 'routes', title: 'Routes', key: 'r', isInHead: true, load: () => import('./routes-view.ts') },
  { id: 'clients', title: 'Clients', key: 'k', isInHead: true, load: () => import('./clients-view.ts') },
  { id: 'gateway', title: 'Gateway', key: 'w', isInHead: true, load: () => import('./gateway-view.ts') },
  { id: 'file', title: 'File', key: 'o', isInHead: true, load: () => import('./file-view.ts') },
  { id: 'call', title: 'Call', key: null, isInHead: false, load: () => import('./call-view.ts') },
  { id: 'compare', title: 'Compare', key: null, isInHead: false, load: () => import('./compare-view.ts') },
];
