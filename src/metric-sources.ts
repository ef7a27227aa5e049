// Where the metrics look at a scrape: the parts of the runtime that is in use then. Holds nothing of a runtime itself.

import type { TokenRequestOutcome } from './auth/credentials/token-endpoint.ts';
import type { TokenTransition } from './auth/credentials/token-source.ts';
import type { Metrics, TokenRequestResult } from './logging/metrics/metrics.ts';
import type { Runtime } from './runtime.ts';
import { credentialOfLimit } from './upstream/call.ts';

const RESULTS: Record<TokenRequestOutcome['result'], TokenRequestResult> = {
  success: 'ok',
  transient: 'transient',
  refused: 'rejected',
  login_required: 'rejected',
};

/** Counts token requests of credentials and sessions alike. */
export function countTokenRequests(metrics: Metrics): (outcome: TokenRequestOutcome) => void {
  return ({ credential, grant, result }) => metrics.tokenRequest(credential, grant, RESULTS[result]);
}

/** Counts the changes of state of configured credentials; of those of sessions there is no end. */
export function countTransitions(metrics: Metrics): (transition: TokenTransition) => void {
  return ({ credential, toToken, toRenewal }) => metrics.tokenTransition(credential, toToken, toRenewal);
}

/** Points the metrics at the runtime in use. `nameRuntime` is to be called again after each change of it. */
export function observeRuntime(metrics: Metrics, runtime: () => Runtime): void {
  metrics.setSources({
    *credentials() {
      for (const { config, source } of runtime().credentials.list()) {
        const { token, renewal, expiresAt } = source.state();
        yield { name: config.name, token, renewal, expiresAt };
      }
    },
    queueLengths() {
      const lengths = new Map<string, number>();
      const add = (limitKey: string, waiting: number) => {
        const name = credentialOfLimit(limitKey);
        lengths.set(name, (lengths.get(name) ?? 0) + waiting);
      };
      const { limits, dispatcher } = runtime().upstream;
      for (const { credential, waiting } of limits()) if (credential !== null) add(credential, waiting);
      for (const [credential, waiting] of dispatcher.waiting()) add(credential, waiting);
      return lengths;
    },
    connections: () => runtime().upstream.dispatcher.connections(),
  });
  nameRuntime(metrics, runtime());
}

/** Tells the metrics which names may be labels now. */
export function nameRuntime(metrics: Metrics, { config }: Runtime): void {
  metrics.setNames({
    clients: config.clients.map(({ name }) => name),
    credentials: config.credentials.map(({ name }) => name),
  });
}
