// A loopback listener for the end of one login, where no gateway runs that the browser could come back to. It serves one path and is then gone.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GatewayError, isGatewayError } from '../errors.ts';
import { assertOrigin, createBoundaryRules, isNavigation } from '../server/boundary.ts';
import { assertFraming } from '../server/framing.ts';
import { hasAnswer, readCallback } from '../server/login/callback-fields.ts';
import { isLoopbackAuthority } from '../server/login/redirect-uri.ts';
import { renderFragmentPage, renderLoginDone, renderLoginFailed } from '../server/pages/login-pages.ts';
import { sendPage } from '../server/pages/page.ts';

/** The largest fragment that may be posted. */
const LARGEST_BODY_BYTES = 64 * 1024;

/** How long a connection may stay when the login is over: the last page is on its way, and whoever holds one open holds up nothing. */
const LINGER_MS = 1000;

/** No names but those of loopback, no pages but the landing's own. */
const RULES = createBoundaryRules({ allowedHosts: [], corsOrigins: [], publicUrl: null });

/** Where to land, and for what. */
export interface LandingOptions {
  readonly redirectUri: string;
  /** The credential's name. */
  readonly name: string;
  /** Take another port when that of `redirectUri` is in use. */
  readonly anyPort: boolean;
}

/** Listens where `redirectUri` leads. Throws gateway.request.invalid when it leads elsewhere, or the port cannot be had. */
export async function openLanding(options: LandingOptions, complete: (fields: string) => Promise<void>): Promise<Landing> {
  const landing = new Landing(options, complete);
  await landing.open();
  return landing;
}

/**
 * A listener that waits for the answer to one login, known by its state. Whatever else comes is answered and has no effect: any web page, and any
 * program of this machine, may send requests here while a person is logging in.
 */
export class Landing {
  readonly #url: URL;
  readonly #options: LandingOptions;
  readonly #complete: (fields: string) => Promise<void>;
  readonly #server: Server;
  readonly #landed: Promise<void>;
  #settle: (outcome: Promise<void>) => void = () => {};
  #state: string | null = null;
  #outcome: Promise<void> | null = null;

  constructor(options: LandingOptions, complete: (fields: string) => Promise<void>) {
    this.#options = options;
    this.#complete = complete;
    this.#url = new URL(options.redirectUri);
    if (this.#url.protocol !== 'http:' || !isLoopbackAuthority(this.#url.host)) {
      throw new GatewayError('gateway.request.invalid', `the login ends at ${options.redirectUri}, which is not this machine: use --paste`);
    }
    this.#landed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#landed.catch(() => undefined);
    this.#server = createServer((request, response) => {
      // A caller who left in the middle, for one.
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** With the port that was found. */
  get redirectUri(): string {
    return this.#url.href;
  }

  async open(): Promise<void> {
    const url = this.#url;
    const port = Number(url.port || 80);
    await listen(this.#server, url.hostname, port).catch((error: NodeJS.ErrnoException) => {
      if (this.#options.anyPort && error.code === 'EADDRINUSE') return listen(this.#server, url.hostname, 0);
      throw new GatewayError('gateway.request.invalid', `${url.host} cannot be listened on (${error.code}): use --paste`);
    });
    url.port = String((this.#server.address() as AddressInfo).port);
  }

  /** Waits for the answer to the login with that state, and ends as the login does. */
  land(state: string): Promise<void> {
    this.#state = state;
    return this.#landed;
  }

  close(): void {
    this.#server.close();
    this.#server.closeIdleConnections();
    setTimeout(() => this.#server.closeAllConnections(), LINGER_MS).unref();
  }

  /** Ends the login by the first answer that has its state; each further one hears how that ended. Throws for any other. */
  async #finish(fields: string): Promise<void> {
    const { state } = readCallback(fields, null);
    if (state !== this.#state) throw new GatewayError('gateway.request.invalid', 'this is not the answer to the login that is awaited here');
    this.#outcome ??= this.#complete(fields);
    this.#settle(this.#outcome);
    await this.#outcome;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // The process ends after this answer: nothing is to be kept open for it.
    response.setHeader('Connection', 'close');
    const search = this.#admit(request);
    if (typeof search === 'number') response.writeHead(search).end();
    else if (request.method === 'POST') {
      const { status, document } = await readBody(request)
        .then((fields) => this.#finish(fields))
        .then(
          () => ({ status: 200, document: { credential: this.#options.name } }),
          (error: unknown) => ({ status: 400, document: { message: messageOf(error) } }),
        );
      response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(document));
    } else if (!hasAnswer(search)) {
      sendPage(response, 200, renderFragmentPage(null), 'login');
    } else {
      const { status, page } = await this.#finish(search).then(
        () => ({ status: 200, page: renderLoginDone(this.#options.name, null) }),
        (error: unknown) => ({ status: 400, page: renderLoginFailed(messageOf(error), null) }),
      );
      sendPage(response, status, page, 'login');
    }
  }

  /** The query of a request that may come here, or the status with which it may not. Origin and Host are held to the gateway's own rules. */
  #admit(request: IncomingMessage): string | number {
    try {
      const { host, target } = assertFraming(request);
      const queryAt = target.indexOf('?');
      const path = queryAt < 0 ? target : target.slice(0, queryAt);
      if (!isLoopbackAuthority(host) || path !== this.#url.pathname) return 404;
      if (request.method === 'POST') {
        assertOrigin(request, host, RULES, false);
        return request.headers['x-gateway-request'] === '1' ? '' : 403;
      }
      if (!isNavigation(request)) assertOrigin(request, host, RULES, false);
      if (request.method !== 'GET') return 405;
      return queryAt < 0 ? '' : target.slice(queryAt);
    } catch (error) {
      return isGatewayError(error) ? error.statusCode : 400;
    }
  }
}

function listen(server: Server, hostname: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: hostname.replace(/^\[|\]$/g, ''), port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk as string;
    if (text.length > LARGEST_BODY_BYTES) throw new GatewayError('gateway.body.too.large', 'the answer of the login page is too large');
  }
  return text;
}

function messageOf(error: unknown): string {
  return isGatewayError(error) ? error.message : 'the login failed unexpectedly';
}
