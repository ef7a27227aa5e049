// How much of the platform was used in a month: one document, for GET /-/usage and for `gcg usage`.

import { GatewayError } from '../../errors.ts';
import type { BudgetState } from '../../usage/budgets.ts';
import type { UsageRow } from '../../usage/month-book.ts';
import { isMonth } from '../../usage/usage-ledger.ts';
import type { ServerContext } from '../context.ts';

/** The usage document. */
export interface UsageDocument {
  /** `2026-11`, in UTC. */
  readonly month: string;
  /** Requests sent to the platform, each further attempt included. */
  readonly calls: number;
  /** Those with most calls first. */
  readonly rows: readonly UsageRow[];
  /** Of this month, whichever was asked for: clients that have a budget. */
  readonly budgets: readonly (BudgetState & { readonly client: string })[];
  /** The months of which something is known, the latest first. */
  readonly months: readonly string[];
  /** Whether the counts are kept over a restart. */
  readonly isKept: boolean;
}

/** What was used in a month; without `month` in the present one. Throws gateway.request.invalid for what is no month. */
export async function usageOf(gateway: ServerContext, query: { readonly month?: unknown }): Promise<UsageDocument> {
  const { usage, runtime, clock } = gateway;
  const { month = usage.monthAt(clock.now()) } = query;
  if (typeof month !== 'string' || !isMonth(month))
    throw new GatewayError('gateway.request.invalid', 'month is written like 2026-11');
  const rows = usage.month(month);
  return {
    month,
    calls: rows.reduce((sum, { calls }) => sum + calls, 0),
    rows,
    budgets: runtime.config.clients.flatMap(({ name, requestsPerMonth: limit }) =>
      limit === null ? [] : [{ client: name, ...runtime.budgets.state(name, limit) }],
    ),
    months: await usage.months(),
    isKept: usage.isKept,
  };
}
