// Holds a forwarded call against its client's rules: the path that is sent, the method that is sent. What the rules mean is auth/clients/rules.ts.

import { createRules, type Rules, type Verdict } from '../auth/callers/rules.ts';
import type { ClientConfig } from '../config/gateway-config.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import type { Exchange } from './exchange.ts';
import { asksForOtherMethod, otherPathAsked } from './method-override.ts';

/** What is asked about. */
type Asked = Pick<Exchange, 'identity' | 'route' | 'request'> & { readonly record: Pick<Exchange['record'], 'requestId' | 'method'> };

/** Makes the check. It throws gateway.client.forbidden; in mode `report` it only logs, with the request id, what it would have refused. */
export function createRuleCheck(clients: readonly ClientConfig[], log: Log): (exchange: Asked) => void {
  const compiled = new Map<string, Rules>();
  for (const client of clients) {
    const rules = createRules(client);
    if (rules !== null) compiled.set(client.name, rules);
  }
  if (compiled.size === 0) return () => undefined;
  return ({ identity: { client }, route, record, request }) => {
    const rules = client === null ? undefined : compiled.get(client.name);
    if (client === null || rules === undefined || route.kind !== 'forward') return;
    const isTwoCalls = asksForOtherMethod(request.headers, route.target) || otherPathAsked(request.headers) !== null;
    const verdict: Verdict = isTwoCalls ? { reason: 'ambiguous' } : rules.judge(record.method, route.target);
    if (verdict === null) return;
    const rule = verdict.reason === 'denied' ? verdict.rule : null;
    if (client.mode === 'report') {
      log.warn({ requestId: record.requestId, client: client.name, method: record.method, reason: verdict.reason, rule }, 'rule would refuse');
      return;
    }
    throw new GatewayError('gateway.client.forbidden', MESSAGES[verdict.reason](client.name, rule));
  };
}

const MESSAGES: Record<NonNullable<Verdict>['reason'], (client: string, rule: string | null) => string> = {
  denied: (client, rule) => `the rules of client ${client} deny this call (${rule})`,
  unlisted: (client) => `the rules of client ${client} do not list this call: add it to allow[] if it may be made`,
  ambiguous: (client) => `client ${client} has rules, and this path or method can be read in more than one way: send it plainly`,
};
