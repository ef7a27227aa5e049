// The state of a simulation: references to its parts, as one value that every route is given.

import type { ChannelStore } from './channels.ts';
import type { ClientRegistry } from './clients.ts';
import type { Directory } from './directory.ts';
import type { EventLog, StatsCounter } from './events.ts';
import type { HoldingPlace } from './hold.ts';
import type { RandomSource } from './random.ts';
import type { RateLimiter } from './rate-limiter.ts';
import type { SwitchBoard } from './switches.ts';
import type { CodeStore, RefreshTokenStore, TokenStore } from './tokens.ts';

/** The wall clock of the simulation, epoch ms: token lives, windows and dates follow it. */
export interface SandboxClock {
  now(): number;
}

/** What every route may use. */
export interface SandboxState {
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
