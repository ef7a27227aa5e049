// The network as auth sees it: one bounded POST over the same connections, proxy and certificates as every API call.

import type { Dispatcher } from 'undici';
import type { TokenTransport } from '../auth/credentials/token-endpoint.ts';
import { GatewayError } from '../errors.ts';
import { toGatewayError } from './upstream-errors.ts';

/** Makes the transport. It rejects with a GatewayError of the upstream or proxy group, and reads no more than it was told to. */
export function createTokenTransport(agent: Dispatcher): TokenTransport {
  return async ({ url, headers, body, timeoutMs, maxBodyBytes }) => {
    const { origin, pathname, search } = new URL(url);
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const answer = await agent.request({ origin, path: pathname + search, method: 'POST', headers: [...headers], body, signal });
      const received: Record<string, string | undefined> = {};
      for (const [name, value] of Object.entries(answer.headers)) received[name] = Array.isArray(value) ? value.join(', ') : value;
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        // Leaving the loop destroys the body, and the connection with it.
        if (size > maxBodyBytes) throw new GatewayError('gateway.upstream.invalid', `the answer is larger than ${maxBodyBytes} bytes`);
        chunks.push(chunk);
      }
      return { statusCode: answer.statusCode, headers: received, body: Buffer.concat(chunks) };
    } catch (error) {
      if (signal.aborted) throw new GatewayError('gateway.upstream.timeout', `${origin} did not answer within ${timeoutMs / 1000} s`);
      throw toGatewayError(error, origin);
    }
  };
}
