// Hands the metric families to the Prometheus client, which formats them and adds the process's own metrics. The client
// is loaded at the first scrape: a gateway nobody scrapes neither waits for it at the start nor samples its event loop.

import type { Metric, Registry } from '@prometheus-io/client';
import type { Family } from './metric-family.ts';

/** What `GET /metrics` is answered with. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Coarse on purpose: a finer timer would wake an idle sidecar ten times as often. */
const EVENT_LOOP_PRECISION_MS = 100;

/** A function that renders the families in Prometheus' text format. */
export function createExposition(families: readonly Family[]): () => Promise<string> {
  let registry: Promise<Registry> | null = null;
  return async () => {
    registry ??= createRegistry(families);
    return (await registry).metrics();
  };
}

async function createRegistry(families: readonly Family[]): Promise<Registry> {
  const client = await import('@prometheus-io/client');
  const registry = new client.Registry();
  for (const family of families) registry.registerMetric(asMetric(family));
  client.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
  return registry;
}

/**
 * The registry asks a metric for its values by `get()`; numbers that are kept elsewhere can therefore stand in for one.
 */
function asMetric({ name, help, type, collect }: Family): Metric {
  const get = async () => ({
    name,
    help,
    type,
    aggregator: 'sum',
    values: Array.from(collect(), ({ labels, value, suffix }) => ({
      labels,
      value,
      metricName: suffix ? name + suffix : name,
    })),
  });
  return { name, help, type, aggregator: 'sum', get, reset() {} } as unknown as Metric;
}
