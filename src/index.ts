// The package's face for embedding: a gateway in a process of one's own. The command line has an entry of its own.

/** Why a gateway does not listen, or does not take a configuration over: others would reach it without proof. */
export { ExposureError } from './config/access-rules.ts';
export type { GatewayConfig } from './config/gateway-config.ts';
/** Reads flags, environment and file as the command does, and says all that is wrong. */
export { type LoadInput, type LoadResult, loadConfig, type Problem } from './config/load.ts';
export { formatProblem } from './config/problem.ts';
export { type ErrorCode, GatewayError, isGatewayError } from './errors.ts';
/** Builds a gateway; its `app` is the Fastify instance, `plugins` adds routes to it. */
export { createGateway, type Gateway, type GatewayLog, type GatewayOptions } from './gateway.ts';
/** The log of the command, for those who want the same records. */
export { createLogger, type Logger, type LoggingConfig } from './logging/logger.ts';
export { createMetrics, type Metrics } from './logging/metrics/metrics.ts';
export { createLiveSecrets, type LiveSecrets } from './logging/redact/live-secrets.ts';
