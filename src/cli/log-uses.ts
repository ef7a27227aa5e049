// Reads which operations were called from the records of a log: JSON lines, of which some may be cut, foreign or huge.

import type { OperationUse } from '../operations/advice.ts';
import { identifyOperation } from '../operations/table.ts';

/** What a log tells. */
export interface LogUses {
  readonly uses: OperationUse[];
  /** Records of calls. */
  readonly records: number;
  /** Lines that are no JSON, or longer than any record. */
  readonly unreadable: number;
}

/** A record with bodies is far shorter. */
const LONGEST_LINE = 1024 * 1024;
/** More different ones than there can be of any configuration that is read by people. */
const MOST_USES = 100_000;

/** The uses in a log, each call counted once. Rejects as its chunks do. */
export async function readLogUses(chunks: AsyncIterable<string>): Promise<LogUses> {
  const uses = new Map<string, { client: string | null; credential: string; operation: string; calls: number }>();
  let records = 0;
  let unreadable = 0;
  for await (const line of linesOf(chunks)) {
    if (line === '') continue;
    const record = line === null ? undefined : parsed(line);
    if (record === undefined) unreadable += 1;
    const use = record === undefined ? null : useOf(record);
    if (use === null) continue;
    records += 1;
    const key = JSON.stringify([use.client, use.credential, use.operation]);
    const known = uses.get(key);
    if (known !== undefined) known.calls += 1;
    else if (uses.size < MOST_USES) uses.set(key, use);
  }
  return { uses: [...uses.values()], records, unreadable };
}

/** Lines without their ends; null for one that is too long, which is not kept. */
async function* linesOf(chunks: AsyncIterable<string>): AsyncIterable<string | null> {
  let begun = '';
  let isTooLong = false;
  for await (const chunk of chunks) {
    const lines = chunk.split('\n');
    for (const [index, piece] of lines.entries()) {
      if (!isTooLong) begun += piece;
      if (begun.length > LONGEST_LINE) [begun, isTooLong] = ['', true];
      if (index === lines.length - 1) continue;
      yield isTooLong ? null : begun;
      [begun, isTooLong] = ['', false];
    }
  }
  if (isTooLong || begun !== '') yield isTooLong ? null : begun;
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    // Some editors and shells put a mark of the encoding before the first line.
    const value: unknown = JSON.parse(line.charCodeAt(0) === 0xfeff ? line.slice(1) : line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Text of another program, or a line that was cut: it is counted.
    return undefined;
  }
}

/** A call that was sent to the platform; null for any other record. */
function useOf(record: Record<string, unknown>) {
  const { msg, credential, client, attempts, method, path } = record;
  if (msg !== 'exchange' || typeof credential !== 'string' || !(Number(attempts) > 0)) return null;
  const operation = operationIn(record, method, path);
  if (operation === null) return null;
  return { client: typeof client === 'string' ? client : null, credential, operation, calls: 1 };
}

/** Records of earlier versions have no operation: their path tells it. */
function operationIn({ operation }: Record<string, unknown>, method: unknown, path: unknown): string | null {
  if (typeof operation === 'string') return operation;
  const at = typeof path === 'string' ? path.indexOf('/api/v2/') : -1;
  if (at < 0 || typeof method !== 'string') return null;
  return identifyOperation(method, (path as string).slice(at)).id;
}
