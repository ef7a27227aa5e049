// What the server works with: the parts of one configuration. Declared here, built where all parts are known; an
// exchange keeps those it was accepted under.

import type { IncomingMessage } from 'node:http';
import type { Clock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { CallerConnection, Send } from '../upstream/call.ts';
import type { Egress } from '../upstream/egress/egress.ts';
import type { ReplayBudget } from '../upstream/request-body.ts';
import type { AdmissionRules } from './admission.ts';
import type { CredentialChoice, RuleCheck } from './authorize.ts';
import type { BodyLogging } from './body-logging.ts';
import type { OwnHeaders } from './headers.ts';
import type { FacadeGrants } from './oauth/grants.ts';
import type { FacadeRedirects } from './oauth/redirects.ts';
import type { ChannelRegister } from './websocket/channels.ts';

/** The parts of one configuration as the server sees them. */
export interface ServerRuntime extends AdmissionRules {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  /** The address a request comes from, for slowing down guesses. */
  readonly peerOf: (request: IncomingMessage) => string;
  readonly assertRules: RuleCheck;
  readonly choice: CredentialChoice;
  /** What the login endpoints for applications work with. */
  readonly facade: FacadeGrants & FacadeRedirects;
  readonly upstream: { readonly send: Send; readonly egress: Pick<Egress, 'agent'> };
  /** What all calls together keep for replays, those of earlier configurations included. */
  readonly budget: ReplayBudget;
  readonly ownHeaders: OwnHeaders;
  /** The notification channels that were issued, by this and earlier configurations. */
  readonly channels: ChannelRegister;
  /** What redirects to the upstream's own host lead through. */
  readonly redirectBase: string;
  /**
   * This gateway's mark on chained gateways, to know its own requests again; null when calls go straight to the region.
   */
  readonly instanceId: string | null;
  /** Bodies that go into the record; null: none. */
  readonly bodies: BodyLogging | null;
  /** A forwarded call begins here, and ends: while one runs, what it works with is not closed. */
  enter(): void;
  leave(): void;
  /** Calls that wait just now: for a connection, a limit, a token, another try. */
  readonly waits: Set<CallerConnection>;
}
