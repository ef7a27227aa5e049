// The connections of one way out: egress, pools and the state of their origins. Shared by consecutive configurations that dial alike,
// so that a reload which concerns something else opens no connection; the last to let go of it closes it.

import type { Clock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { Log } from '../logging/log.ts';
import type { Send } from './call.ts';
import { createDispatcher, type UpstreamDispatcher } from './dispatcher.ts';
import { createEgress, type Egress } from './egress/egress.ts';
import type { WaitingRoom } from './waiting.ts';

/** A line in use. Whoever makes or shares it lets go of it once. */
export interface Line {
  readonly egress: Egress;
  readonly dispatcher: UpstreamDispatcher;
  /** One attempt, once there is a connection for it; shed while its origin cannot be reached. */
  readonly send: Send;
  /** One more user. */
  share(): Line;
  /** One user less; the last one's resolves when what still runs has ended and the connections are closed. */
  letGo(): Promise<void>;
  /** Closes it at once, whoever uses it. */
  cut(): Promise<void>;
}

/** The settings that a line is made of. */
export type LineSettings = Pick<GatewayConfig, 'proxy' | 'tls' | 'timeouts' | 'rateLimit'>;

/** What a line is made with. `random` is 0 (inclusive) to 1 (exclusive). */
export interface LineDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** Opens nothing before the first call. Calls that find no connection free wait in `room`. */
export function createLine({ proxy, tls, timeouts, rateLimit }: LineSettings, { env, clock, random, log }: LineDeps, room: WaitingRoom): Line {
  const egress = createEgress({ proxy, tls, timeouts, env, clock, log });
  const dispatcher = createDispatcher({
    ...{ connect: egress.connect, headersMs: timeouts.headersMs, bodyMs: timeouts.bodyMs, connections: rateLimit.connections, room, clock, random },
    onChange: (origin, state) => (state === 'open' ? log.warn : log.info).call(log, { origin, state }, 'upstream reachability'),
  });
  let users = 1;
  const line: Line = {
    egress,
    dispatcher,
    send: dispatcher.send,
    share() {
      users += 1;
      return line;
    },
    async letGo() {
      users -= 1;
      if (users > 0) return;
      await dispatcher.close();
      egress.close();
    },
    async cut() {
      egress.close();
      await dispatcher.destroy();
    },
  };
  return line;
}
