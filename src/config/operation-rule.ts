// Rules that name operations of the platform: an operationId, tag:… or permission:…, with stars. Whether there is any
// operation of that name, and which one may have been meant.

import { alternativesTo, parseSelector } from '../operations/selectors.ts';
import { operationTable } from '../operations/table.ts';
import { VERSION } from '../version.ts';
import { didYouMean, quote } from './problem.ts';

/** How rules that name operations are written, for messages. */
export const OPERATION_FORMS = 'getUsers, tag:Routing or permission:routing:queue:view';

/**
 * Why a rule that has the form of a selector of operations cannot be used; undefined when it can, null when it has not
 * that form. One that names nothing would look like a rule and protect nothing.
 */
export function refuseOperationRule(rule: string): string | null | undefined {
  const selector = parseSelector(rule);
  if (selector === null)
    return /^(?:tag|permission):/.test(rule) ? `${quote(rule)} is not a rule; write it like ${OPERATION_FORMS}` : null;
  if (/^\*+$/.test(selector.pattern))
    return `${quote(rule)} is every operation that is known, and no other call; write * /api/v2/** for all calls`;
  const { operations } = operationTable();
  const alternatives = alternativesTo(selector, operations);
  if (alternatives === null) return undefined;
  return (
    `${quote(rule)} names no operation of the platform${didYouMean(rule, alternatives) || '.'}` +
    ` This release (${VERSION}) knows ${operations.length}; a newer one can be named by its path, like GET /api/v2/users/**`
  );
}
