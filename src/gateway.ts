// The gateway as a whole: a runtime behind an app behind listeners, and its life from start to drained. Handles no
// signals and never exits.

import type { FastifyInstance } from 'fastify';
import { Agent } from 'undici';
import { systemClock, withDeadline } from './clock.ts';
import type { GatewayConfig } from './config/gateway-config.ts';
import { callableAddress } from './config/listen-address.ts';
import { type GatewayLog, GatewayState, type StateOptions } from './gateway-state.ts';
import { isPageServed, PAGE_PATH } from './inspector/page-place.ts';
import type { ExchangeCounts } from './logging/exchange-observer.ts';
import { operationTable } from './operations/table.ts';
import { Runtime } from './runtime.ts';
import { accept } from './server/accept.ts';
import { createApp } from './server/app.ts';
import type { ReloadOutcome } from './server/context.ts';
import { isAnonymousServed } from './server/listener-plan.ts';
import { type ListenerSpec, type Listeners, openListeners } from './server/listeners.ts';
import { draining } from './server/responses.ts';
import { readinessOf } from './server/routes/status.ts';
import { observe } from './server/samples.ts';
import { acceptUpgrade, whyNotServed } from './server/websocket/upgrade.ts';
import { type KnownIdentity, NOTHING_KNOWN } from './upstream/identities.ts';

export type { GatewayLog };

/** What a gateway is given from outside; everything but the log has a default. */
export interface GatewayOptions extends StateOptions {
  /** Told when somebody asked the gateway to end (POST /-/quit). Default: it drains by itself. */
  readonly onQuit?: () => void;
  /** Reads the configuration again and calls `replace` (POST /-/reload). Default: the request is refused. */
  readonly reload?: () => ReloadOutcome;
  /**
   * Further routes of the embedding program, registered last. They are admitted as all others: by Host, Origin and
   * client.
   */
  readonly plugins?: readonly ((app: FastifyInstance) => void)[];
  /** Further members of the status document. */
  readonly status?: () => Readonly<Record<string, unknown>>;
}

/** Where the live page is served. */
export interface PageAddress {
  readonly url: string;
  /** As the configuration has it. */
  readonly host: string;
  readonly port: number;
}

/** Whose a token is, as a log may tell it. */
export interface LoggedIdentity {
  readonly organization: string | null;
  readonly oauthClient: string | null;
}

/**
 * Builds a gateway from a validated configuration. Throws StoreError when the folder of a file store cannot be used, or a
 * shared store refuses us, AuditError when the audit file cannot be used.
 */
export function createGateway(config: GatewayConfig, options: GatewayOptions): Promise<Gateway> {
  return Gateway.create(config, options);
}

/**
 * A gateway: listeners, the runtime of the configuration in use, and what outlives it. Made by `createGateway`, ended
 * by `drain`.
 */
export class Gateway {
  readonly #state: GatewayState;
  /** Runtimes of earlier configurations, with calls that still run. */
  readonly #retiring = new Set<Runtime>();
  #listeners: Listeners | null = null;
  /** Where browsers find the live page: of each listener that serves it. Known once it listens. */
  pages: readonly PageAddress[] = [];
  #drained: Promise<void> | null = null;
  #becomeReady: () => void = () => {};
  /**
   * Resolves once: when the gateway listens and every required credential holds a token, as /readyz tells it. A login
   * that nobody makes keeps it waiting.
   */
  readonly ready: Promise<void> = new Promise((resolve) => {
    this.#becomeReady = resolve;
  });

  private constructor(state: GatewayState) {
    this.#state = state;
    state.onTransition = () => this.#checkReady();
  }

  /** Reads what is stored and builds the first runtime; opens nothing. */
  static async create(config: GatewayConfig, options: GatewayOptions): Promise<Gateway> {
    const state = await GatewayState.create(config, options);
    const gateway = new Gateway(state);
    const { onQuit = () => void gateway.drain(), reload, status } = options;
    state.program = { quit: onQuit, reload, status };
    state.use(new Runtime(config, state));
    observe(state);
    await state.sessions.restore();
    // An agent that no runtime owns: the first one would never be let go of.
    state.app = await createApp(new Agent(), options.plugins);
    return gateway;
  }

  /**
   * The Fastify instance, ready: it does not listen by itself, and takes no more routes (see `GatewayOptions.plugins`).
   */
  get app(): FastifyInstance {
    return this.#state.app;
  }

  /** The parts of the configuration in use. */
  runtime(): Runtime {
    return this.#state.runtime;
  }

  /** How many calls run, and how many ended or were cut so far. Open sockets are among them. */
  get calls(): ExchangeCounts {
    return this.#state.observer.counts;
  }

  /** The key of this start: whoever shows it sees all calls, where callers need not prove anything. */
  get pageKey(): string {
    return this.#state.pageKeys.own;
  }

  /** Makes the code of a link to the live page, good once and for a minute; null where callers prove who they are. */
  inviteToPage(): string | null {
    const { pageKeys, runtime } = this.#state;
    return runtime.authenticator.asksForNoProof ? pageKeys.invite('operator') : null;
  }

  /** Notification sockets that are open, or about to be. */
  socketCount(): number {
    return this.#state.openSockets.count;
  }

  /**
   * Whose the token of a credential is, the default one's where none is named: once that is known, and after `withinMs`
   * at the latest. It may name a person, and is not for a log.
   */
  async identity(withinMs: number, name?: string): Promise<KnownIdentity> {
    const { identities, runtime } = this.#state;
    const credential = name === undefined ? runtime.credentials.default() : runtime.credentials.get(name);
    return credential === undefined ? NOTHING_KNOWN : identities.settled(credential, withinMs);
  }

  /**
   * The organisation and OAuth client of each credential, to be looked up by name and fit for a log: no person is named.
   * Waits for answers that are under way, `withinMs` at most.
   */
  async identitiesForLog(withinMs: number): Promise<(name: string) => LoggedIdentity | null> {
    const { identities, runtime } = this.#state;
    const known = await Promise.all(
      runtime.credentials.list().map(async (credential) => {
        // Whether somebody is logged in may still be being found out.
        const { source } = credential;
        if (source.state().renewal === 'running') await source.token(withinMs).catch(() => undefined);
        const { identity } = await identities.settled(credential, withinMs);
        const { organization = null, oauthClient = null } = identity ?? {};
        const names = { organization: organization?.name ?? null, oauthClient: oauthClient?.name ?? null };
        return [credential.config.name, identity === null ? null : names] as const;
      }),
    );
    const byName = new Map(known);
    return (name) => byName.get(name) ?? null;
  }

  /**
   * Opens the listeners and begins to obtain tokens. Rejects with the system's error when an address cannot be had,
   * with an ExposureError when others could reach it and would not have to authenticate; nothing is left open then.
   */
  async listen(): Promise<readonly string[]> {
    const state = this.#state;
    const { started, listenerPlan, log } = state;
    const specs = listenerPlan.listeners.map((planned): ListenerSpec => {
      const { address, role } = planned;
      return {
        address,
        handler: (request, response) => accept(state, role, request, response),
        onUpgrade: (request, socket, head) => acceptUpgrade(state, role, request, socket, head),
        // Probes of health alone come without certificates and see no secret.
        tls: role.data || role.admin ? state.tls : null,
        onBound: (bound) => listenerPlan.settle(planned, bound),
        onWrongProtocol: (spoken, socket) => state.wrongProtocols.note(spoken, socket, role.peerName),
      };
    });
    // A broken installation shows at the start, and not at the first call.
    operationTable();
    this.#listeners = await openListeners(specs, started.server);
    this.pages = pageAddresses(state, this.#listeners.addresses);
    state.pages = this.pages.map(({ url }) => url);
    state.runtime.credentials.start();
    state.expiries.start();
    listenerPlan.warnOfAnonymousUse(started, this.#listeners.addresses, log);
    listenerPlan.warnOfWrongAddresses(log);
    this.#checkReady();
    return this.#listeners.addresses;
  }

  #checkReady(): void {
    const { phase, runtime } = this.#state;
    if (this.#listeners === null) return;
    const tokens = runtime.credentials.list().map((credential) => ({
      required: credential.config.isRequired,
      token: credential.tokenState(),
    }));
    if (readinessOf(phase, tokens) === 'ready') this.#becomeReady();
  }

  /**
   * Serves new calls by another configuration from now on; calls that run end by the one they began with. Listeners and
   * store stay as they are. Throws when it cannot, and has changed nothing then: an ExposureError where others reach a
   * listener and would not have to authenticate any more. `unsafe_allow_anonymous` counts when it was set from the
   * start.
   */
  replace(wanted: GatewayConfig): void {
    const state = this.#state;
    const { started, listenerPlan, sessions, openSockets } = state;
    if (state.phase !== 'running') throw draining();
    const config = withoutNewRisk(started, wanted);
    listenerPlan.assertMayServe(config);
    const before = state.runtime;
    const runtime = new Runtime(config, state, before);
    state.use(runtime);
    sessions.reconsider();
    if (this.#listeners !== null) runtime.credentials.start();
    state.identities.prune();
    openSockets.review((owner) => whyNotServed(runtime, owner));
    state.inspector?.feed.review();
    state.inspector?.reloaded();
    if (this.#listeners !== null && !isAnonymousServed(before.config))
      listenerPlan.warnOfAnonymousUse(config, this.#listeners.addresses, state.log);
    this.#checkReady();
    this.#retiring.add(before);
    const forget = () => void this.#retiring.delete(before);
    before.retire(runtime).then(forget, forget);
  }

  /** Opens the audit file again, after a rotation. */
  reopen(): void {
    this.#state.auditTrail?.reopen();
  }

  /** Not ready at once, refusing after `shutdown_delay`, gone within `drain_timeout` more. Safe to repeat. */
  drain(): Promise<void> {
    this.#drained ??= this.#close();
    return this.#drained;
  }

  /** Ends `drain` at once: calls that still run are cut, and recorded as such. */
  cut(): void {
    this.#state.isCutting = true;
    this.#listeners?.cut();
    this.#state.replays.cut();
  }

  async #close(): Promise<void> {
    const state = this.#state;
    const { sessions, openSockets, identities, askedLimits, clock } = state;
    state.phase = 'leaving';
    identities.close();
    askedLimits.close();
    const { shutdownDelayMs, drainTimeoutMs } = state.runtime.config.server;
    // Where nothing listens there is no traffic that somebody had to move away first.
    if (shutdownDelayMs > 0 && this.#listeners !== null)
      await new Promise<void>((resolve) => void clock.after(shutdownDelayMs, resolve));
    state.phase = 'draining';
    state.inspector?.feed.close('the gateway ends');
    const endsAt = performance.now() + drainTimeoutMs;
    const runtimes = [state.runtime, ...this.#retiring];
    const stopDeadline = this.#setDeadline(drainTimeoutMs, runtimes);
    await Promise.all([this.#listeners?.close(), openSockets.close(drainTimeoutMs), state.replays.close()]);
    stopDeadline();
    for (const { credentials } of runtimes) credentials.close();
    // A refresh token that the platform rotates now, and that nobody hears of, takes a person to replace.
    const renewals = Promise.all([sessions.settled(), ...runtimes.map(({ credentials }) => credentials.settled())]);
    const settled = withDeadline(systemClock, endsAt - performance.now(), () => new Error('drain_timeout'), renewals);
    const spanMs = Math.max(
      LAST_WORDS_MS,
      Math.min(endsAt - performance.now(), state.runtime.config.tracing.timeoutMs),
    );
    await Promise.all([settled.catch(() => undefined), state.spans.close(spanMs)]);
    sessions.close();
    state.expiries.close();
    state.inspector?.close();
    state.tls?.close();
    await Promise.all(runtimes.map((runtime) => runtime.close()));
    await Promise.all([state.app.close(), state.closeBooks()]);
    await state.closeStore();
  }

  /**
   * Sets the end of `drainTimeoutMs`; returns what calls it off. Shortly before it, calls that wait are told, and none
   * begins to wait any more; then what has not ended is cut. The second timer is set by the first: on a machine so slow
   * that both are overdue nothing is cut before it was told. Node's own timers, which keep the process alive until then.
   */
  #setDeadline(drainTimeoutMs: number, runtimes: readonly Runtime[]): () => void {
    const lastWordsMs = Math.min(LAST_WORDS_MS, drainTimeoutMs / 10);
    let timer = setTimeout(() => {
      for (const runtime of runtimes) runtime.rejectWaits(draining());
      timer = setTimeout(() => this.cut(), lastWordsMs);
    }, drainTimeoutMs - lastWordsMs);
    return () => clearTimeout(timer);
  }
}

/**
 * Waiting calls are refused this long before `drain_timeout` ends, or a tenth of it if that is less; and the last spans
 * have as long after it.
 */
const LAST_WORDS_MS = 500;

/** The listeners that browsers can call and that serve the live page. `addresses` are those that were opened. */
function pageAddresses({ listenerPlan, started }: GatewayState, addresses: readonly string[]): PageAddress[] {
  return listenerPlan.listeners.flatMap(({ address, role }, at): PageAddress[] => {
    const opened = addresses[at] ?? '';
    if (!role.admin || !opened.startsWith('http') || !isPageServed(started, role.isLocal)) return [];
    const { origin, hostname, port } = new URL(
      opened.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:'),
    );
    const written = callableAddress(address);
    const host = written?.kind === 'tcp' ? written.host : hostname;
    return [{ url: origin + PAGE_PATH, host, port: Number(port || (origin.startsWith('https') ? 443 : 80)) }];
  });
}

/** The next configuration without a risk that was not accepted at the start: a reload does not add it. */
function withoutNewRisk({ server }: GatewayConfig, next: GatewayConfig): GatewayConfig {
  if (server.unsafeAllowAnonymous || !next.server.unsafeAllowAnonymous) return next;
  return { ...next, server: { ...next.server, unsafeAllowAnonymous: false } };
}
