// The settings that touch one call, for whoever is to understand it elsewhere: as the configuration names them, and
// without a secret, a path of this machine, or a name that is not the call's.

import type { GatewayConfig } from '../../../config/gateway-config.ts';
import type { Call } from '../../../inspector/wire.ts';

/** Times in seconds, as they are written. `withNetwork`: what is said of the way out, too. */
export function settingsOf(config: GatewayConfig, call: Call, withNetwork: boolean): Readonly<Record<string, unknown>> {
  const { timeouts, retry, rateLimit, server, proxy, tls } = config;
  const credential = config.credentials.find(({ name }) => name === call.credential);
  const client = config.clients.find(({ name }) => name === call.client);
  return {
    'general.host': (credential?.hosts ?? config.general.hosts).domain,
    ...(credential !== undefined && { 'credential.grant_type': credential.grantType }),
    ...(client !== undefined && {
      'client.admin': client.isAdmin,
      'client.requests_per_minute': client.requestsPerMinute,
    }),
    'timeouts.connect': timeouts.connectMs / 1000,
    'timeouts.headers': timeouts.headersMs / 1000,
    'timeouts.body': timeouts.bodyMs / 1000,
    'timeouts.token': timeouts.tokenMs / 1000,
    'timeouts.total_wait': timeouts.totalWaitMs / 1000,
    'retry.retry_max': retry.max,
    'retry.retry_wait_min': retry.waitMinMs / 1000,
    'retry.retry_wait_max': retry.waitMaxMs / 1000,
    'rate_limit.mode': rateLimit.mode,
    'rate_limit.requests_per_minute': rateLimit.requestsPerMinute,
    'rate_limit.queue_max': rateLimit.queueMax,
    'rate_limit.connections': rateLimit.connections,
    'server.max_body': server.maxBodyBytes,
    'server.read_only': server.readOnly,
    ...(withNetwork && {
      'proxy.url': proxy.url === null ? null : 'set',
      'proxy.off': proxy.off,
      'tls.ca_file': tls.caFile === null ? null : 'set',
      'tls.cert_file': tls.certFile === null ? null : 'set',
    }),
  };
}
