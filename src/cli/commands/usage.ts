// `gcg usage`: prints how many requests went to Genesys Cloud in a month, as the running gateway counted them.

import { onOneLine } from '../../config/problem.ts';
import type { UsageDocument } from '../../server/routes/usage.ts';
import { isMonth } from '../../usage/usage-ledger.ts';
import type { CommandLine } from '../args.ts';
import { showDocument } from '../document.ts';
import { EXIT, type Io } from '../io.ts';
import { columns } from '../table.ts';

/** 0 when the gateway answered; 2 for what is no month, 69 when none answers, 77 when it wants an admin's secret. */
export async function usage(args: CommandLine, io: Io): Promise<number> {
  const month = args.flags.get('month');
  if (typeof month === 'string' && !isMonth(month)) {
    io.stderr.write('gcg: --month is written like 2026-11\nTry gcg usage --help.\n');
    return EXIT.usage;
  }
  const path = typeof month === 'string' ? `/-/usage?month=${month}` : '/-/usage';
  return showDocument(args, io, { path, what: 'usage', table: usageTable });
}

/** The document as lines for a person. */
export function usageTable({ month, calls, rows, budgets, isKept }: UsageDocument): string {
  const lines = [`${calls} requests to Genesys Cloud in ${month} (UTC)`];
  if (rows.length > 0) {
    const cells = rows.map((row) => [row.client ?? '-', row.credential, row.operation, String(row.calls)]);
    lines.push('', ...columns([['CLIENT', 'CREDENTIAL', 'OPERATION', 'REQUESTS'], ...cells]));
  }
  if (budgets.length > 0) {
    const cells = budgets.map(({ client, used, limit, level }) => [
      client,
      String(used),
      String(limit),
      `${Math.floor((used / limit) * 100)} %${level === 'over' ? ', used up' : ''}`,
    ]);
    lines.push('', ...columns([['CLIENT', 'USED THIS MONTH', 'BUDGET', ''], ...cells]));
  }
  if (!isKept) lines.push('', 'counted since the gateway started: a store of type file keeps the counts');
  return `${lines.map(onOneLine).join('\n')}\n`;
}
