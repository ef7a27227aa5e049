// The platform's paged lists: `entities` with their page, total and links.

import { PlatformError } from '../faults.ts';
import type { ApiCall } from '../route-table.ts';

/** The largest page the platform gives. */
const MAX_PAGE_SIZE = 500;

/**
 * One page of `all` as `pageSize` and `pageNumber` of the query ask (page 0 is read as 1). Throws PlatformError 400 for
 * what is no page.
 */
export function createPage(
  { query, path }: Pick<ApiCall, 'query' | 'path'>,
  all: readonly unknown[],
): Record<string, unknown> {
  const pageSize = readNumber(query, 'pageSize', 25);
  if (pageSize < 1 || pageSize > MAX_PAGE_SIZE)
    throw new PlatformError(400, 'bad.request', `pageSize must be between 1 and ${MAX_PAGE_SIZE}.`);
  const pageNumber = Math.max(1, readNumber(query, 'pageNumber', 1));
  const pageCount = Math.ceil(all.length / pageSize);
  const link = (page: number) => `${path}?pageSize=${pageSize}&pageNumber=${page}`;
  return {
    entities: all.slice((pageNumber - 1) * pageSize, pageNumber * pageSize),
    pageSize,
    pageNumber,
    total: all.length,
    firstUri: link(1),
    selfUri: link(pageNumber),
    lastUri: link(Math.max(1, pageCount)),
    ...(pageNumber < pageCount && { nextUri: link(pageNumber + 1) }),
    ...(pageNumber > 1 && { previousUri: link(pageNumber - 1) }),
    pageCount,
  };
}

function readNumber(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name);
  if (text === null || text === '') return fallback;
  if (!/^\d{1,9}$/.test(text)) throw new PlatformError(400, 'bad.request', `${name} is not a number.`);
  return Number(text);
}
