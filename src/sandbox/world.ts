// The simulation's parts, as one value that its routes are given. It holds references only and does nothing itself.

import type { ChannelStore } from './channels.ts';
import type { ClientRegistry } from './clients.ts';
import type { CodeStore } from './codes.ts';
import type { Directory } from './directory.ts';
import type { EventLog } from './events.ts';
import type { HoldingPlace } from './hold.ts';
import type { RandomSource } from './random.ts';
import type { RateLimiter } from './rate-limiter.ts';
import type { RefreshTokenStore } from './refresh-tokens.ts';
import type { StatsCounter } from './stats.ts';
import type { SwitchBoard } from './switches.ts';
import type { TokenStore } from './tokens.ts';

/** The wall clock of the simulation, epoch ms: token lives, windows and dates follow it. */
export interface SandboxClock {
  now(): number;
}

/** What every route may use. */
export interface World {
  readonly clock: SandboxClock;
  readonly random: RandomSource;
  readonly directory: Directory;
  readonly clients: ClientRegistry;
  readonly tokens: TokenStore;
  readonly refreshTokens: RefreshTokenStore;
  readonly codes: CodeStore;
  readonly channels: ChannelStore;
  readonly rateLimiter: RateLimiter;
  readonly switches: SwitchBoard;
  readonly stats: StatsCounter;
  readonly events: EventLog;
  readonly holding: HoldingPlace;
}
