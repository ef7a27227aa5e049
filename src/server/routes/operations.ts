// Which operations of the platform were called, and what the credentials are granted: one document, for
// GET /-/operations and for `gcg advise`.

import { withDeadline } from '../../clock.ts';
import type { OperationUse } from '../../operations/advice.ts';
import type { GrantedPolicy } from '../../operations/least-permissions.ts';
import type { ServerContext } from '../context.ts';

/** The operations document. */
export interface OperationsDocument {
  /** Of all months that are kept. */
  readonly uses: readonly OperationUse[];
  /** The months of which something is known, the latest first. */
  readonly months: readonly string[];
  /** What the roles of each configured credential grant; null where it could not be read. */
  readonly granted: Readonly<Record<string, readonly GrantedPolicy[] | null>>;
  readonly isKept: boolean;
}

/** The platform is asked what is granted, at most once a minute; whoever waits for the document waits no longer than this. */
const ASKING_MS = 5_000;

/** What the gateway itself asks; it needs no permission, whoever asks. */
const OWN_QUESTIONS: ReadonlySet<string> = new Set(['getAuthorizationSubjectsMe', 'getTokensMe']);

/** What was called, and what is granted for it. */
export async function operationsOf({ usage, runtime, refusals, clock }: ServerContext): Promise<OperationsDocument> {
  const { granted } = refusals;
  const credentials = runtime.credentials.list();
  const asking = Promise.all(credentials.map((credential) => granted.ask(credential, runtime.upstream.send)));
  await withDeadline(clock, ASKING_MS, () => new Error('asking'), asking).catch(() => undefined);
  const months = await usage.months();
  const uses = new Map<string, { client: string | null; credential: string; operation: string; calls: number }>();
  for (const row of months.flatMap((month) => usage.month(month))) {
    if (row.client === null && OWN_QUESTIONS.has(row.operation)) continue;
    const key = JSON.stringify([row.client, row.credential, row.operation]);
    const known = uses.get(key);
    if (known === undefined) uses.set(key, { ...row });
    else known.calls += row.calls;
  }
  return {
    uses: [...uses.values()],
    months,
    granted: Object.fromEntries(credentials.map(({ config, source }) => [config.name, granted.of(source)])),
    isKept: usage.isKept,
  };
}
