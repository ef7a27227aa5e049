// What the status says of the inspector: where its page is, who may use it, who watches just now, and by which keys.

import { viewersInWords } from '../../../inspector/page-place.ts';
import type { ServerContext } from '../../context.ts';

/** The inspector in the status. Times are ISO 8601 in UTC. */
export interface InspectorStatus {
  /** Addresses of the live page; none where only a Unix socket serves its data. */
  readonly pages: readonly string[];
  /** Who may use it, in words. */
  readonly for: string;
  /** Numbers of the oldest and newest call that are kept; null where none is. */
  readonly oldest: number | null;
  readonly newest: number | null;
  readonly watchers: readonly {
    readonly client: string | null;
    readonly peer: string | null;
    readonly sees: 'all' | 'own';
    readonly since: string;
  }[];
  /** Keys of the page that clients hold. */
  readonly keys: readonly { readonly client: string; readonly givenAt: string; readonly lastUsedAt: string }[];
}

/** Null where calls cannot be looked at. */
export function inspectorStatus({
  inspector,
  pages,
  pageKeys,
  runtime,
}: Pick<ServerContext, 'inspector' | 'pages' | 'pageKeys' | 'runtime'>): InspectorStatus | null {
  if (inspector === null) return null;
  const { ring, feed } = inspector;
  return {
    pages,
    for: viewersInWords(runtime.config),
    oldest: ring.oldest,
    newest: ring.newest,
    watchers: feed.watchers.map((watcher) => ({ ...watcher, since: iso(watcher.since) })),
    keys: pageKeys.list().map(({ client, givenAt, lastUsedAt }) => {
      return { client, givenAt: iso(givenAt), lastUsedAt: iso(lastUsedAt) };
    }),
  };
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
