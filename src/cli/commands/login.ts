// `gcg login`: begins a login, opens the browser or prints its address, and waits for the outcome. Without a running
// gateway it listens on loopback for the redirect itself.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { withoutLogin } from '../../auth/credentials/login.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { onOneLine } from '../../config/problem.ts';
import { USER_GRANTS } from '../../config/sections/credential.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { assertOrigin, createBoundaryRules, isNavigation } from '../../server/admission.ts';
import { assertFraming } from '../../server/framing.ts';
import { CALLBACK_PATH } from '../../server/own-routes.ts';
import { renderFragmentPage, renderLoginDone, renderLoginFailed } from '../../server/pages/login-pages.ts';
import { sendPage } from '../../server/pages/page.ts';
import { hasOutcome, readCallback } from '../../server/routes/login.ts';
import { isLoopbackAuthority } from '../../server/routes/redirect-uri.ts';
import { exitCodeOf, findLoginTarget, type KnownCredential } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';
import { type BegunLogin, canRedeemForeignCode, gatewayFlow, type LoginFlow, standaloneFlow } from '../login-flow.ts';
import { withStandaloneCredentials } from '../standalone.ts';

/** What a login needs from its surroundings besides the network. */
export interface LoginEnvironment {
  readonly open: (url: string, io: Io) => Promise<boolean>;
  /** One line of standard input; null at its end. */
  readonly readLine: () => Promise<string | null>;
}

/** 0 logged in, 77 refused, 69 unavailable, 78 bad configuration, 2 usage. */
export async function login(
  args: CommandLine,
  io: Io,
  environment: LoginEnvironment = { open: openBrowser, readLine },
): Promise<number> {
  const found = await findLoginTarget(args, io);
  if (typeof found === 'number') return found;
  const { config, credential } = found;
  const misuse = refuse(args, credential);
  if (misuse !== undefined) {
    io.stderr.write(`gcg: ${onOneLine(misuse)}\n`);
    return EXIT.usage;
  }
  const attempt = (flow: LoginFlow) =>
    perform(flow, credential.name, args, io, environment).catch((error: unknown) => report(error, io));
  if (found.kind === 'running') return attempt(gatewayFlow(found.ask, credential.name, config));
  if (config.store.type === 'memory') {
    io.stderr.write(
      'gcg: no gateway is running, and without one a login would be lost ([store] type is memory): start gcg serve ' +
        'first\n',
    );
    return EXIT.unavailable;
  }
  return withStandaloneCredentials(config, io, async (credentials, upstream) => {
    const own = credentials.get(credential.name);
    if (own === undefined) throw new GatewayError('gateway.credential.unknown', 'the credential is gone');
    return attempt(standaloneFlow(own, upstream, fallbackUri(config)));
  });
}

/** Prints an error and returns its exit code. A login that we refuse (no match, too old, malformed) is 77 as well. */
function report(error: unknown, io: Io): number {
  if (!isGatewayError(error)) throw error;
  io.stderr.write(`gcg: ${onOneLine(error.message)}\n`);
  return error.code === 'gateway.request.invalid'
    ? EXIT.refused
    : exitCodeOf({ status: error.statusCode, code: error.code });
}

function refuse({ flags }: CommandLine, credential: KnownCredential): string | undefined {
  const { grantType } = credential;
  if (!USER_GRANTS.has(grantType)) return withoutLogin(credential);
  if (!flags.has('code'))
    return flags.has('redirect-uri') && !flags.has('paste') ? '--redirect-uri goes with --code or --paste' : undefined;
  if (flags.has('paste')) return 'give --code or --paste, not both';
  if (!canRedeemForeignCode(credential))
    return `a code for ${grantType} can only be redeemed by whoever began its login: use --paste`;
  return flags.has('redirect-uri') ? undefined : '--code needs --redirect-uri, the one the code was issued for';
}

async function perform(
  flow: LoginFlow,
  name: string,
  { flags }: CommandLine,
  io: Io,
  environment: LoginEnvironment,
): Promise<number> {
  const redirectUri = textOf(flags.get('redirect-uri'));
  const code = textOf(flags.get('code'));
  if (code !== null) {
    const { state } = await flow.begin(redirectUri);
    await flow.complete(new URLSearchParams({ code, state }).toString());
  } else if (flags.has('paste')) {
    const { url } = await flow.begin(redirectUri);
    io.stderr.write(
      `Open this address and log in:\n\n  ${url}\n\nThe browser ends at an address that may show no page. Paste ` +
        `that address here:\n`,
    );
    await completeByPaste(flow, io, environment);
  } else {
    await inBrowser(flow, name, io, environment);
  }
  const { who, advice } = await flow.outcome();
  io.stderr.write(`logged in${who === null ? '' : ` as ${who}`}: credential ${name} holds a token\n`);
  if (advice !== null) io.stderr.write(`${advice}\n`);
  return EXIT.ok;
}

const MOST_PASTES = 5;

/** Takes the last address from standard input, and asks again for one that is not that of this login. */
async function completeByPaste(flow: LoginFlow, io: Io, { readLine }: LoginEnvironment): Promise<void> {
  for (let left = MOST_PASTES; ; left -= 1) {
    const pasted = await readLine();
    if (!pasted?.trim()) throw new GatewayError('gateway.request.invalid', 'nothing was pasted: start the login again');
    try {
      return await flow.complete(fieldsOf(pasted));
    } catch (error) {
      // Nothing was redeemed, and the login is still open.
      if (left <= 1 || !isGatewayError(error) || error.code !== 'gateway.request.invalid') throw error;
      io.stderr.write(
        `gcg: ${onOneLine(error.message)}\nThat is not the address this login ends at. Paste the whole address bar ` +
          'again, or press Enter to give up:\n',
      );
    }
  }
}

async function inBrowser(flow: LoginFlow, name: string, io: Io, { open }: LoginEnvironment): Promise<void> {
  const show = async (url: string) => {
    const wasOpened = await open(url, io);
    io.stderr.write(`${wasOpened ? 'A browser opens' : 'Open this address and log in'}:\n\n  ${url}\n\n`);
  };
  let begun: BegunLogin | null = null;
  if (flow.awaitCallback !== undefined) {
    begun = await flow.begin(null);
    if (new URL(begun.redirectUri).pathname.endsWith(CALLBACK_PATH)) {
      await show(begun.url);
      return flow.awaitCallback(begun);
    }
  }
  const { redirectUri, isAnyPortGood } = flow.callback ?? {
    redirectUri: begun?.redirectUri ?? '',
    isAnyPortGood: false,
  };
  const listener = await openCallbackListener({ redirectUri, name, anyPort: isAnyPortGood }, (fields) =>
    flow.complete(fields),
  );
  try {
    // A configured URI is sent exactly as it is written: the platform compares it byte by byte.
    const { url, state } = begun ?? (await flow.begin(isAnyPortGood ? listener.redirectUri : null));
    const done = listener.awaitRedirect(state);
    await show(url);
    await done;
  } finally {
    listener.close();
  }
}

/** A redirect URI at the port for calls, which most likely is the registered one. */
function fallbackUri({ server }: GatewayConfig): string {
  const listener = server.listen.find(({ kind }) => kind === 'tcp');
  const port = listener?.kind === 'tcp' ? listener.port : 0;
  return `http://127.0.0.1:${port}${CALLBACK_PATH}`;
}

/** The query or the fragment of a pasted address; one without either is passed on, and refused later. */
function fieldsOf(pasted: string): string {
  const text = pasted.trim();
  const [, afterHash] = text.split('#', 2);
  if (afterHash) return afterHash;
  const query = text.indexOf('?');
  return query < 0 ? text : text.slice(query + 1);
}

function textOf(flag: string | true | undefined): string | null {
  return typeof flag === 'string' ? flag : null;
}

let lines: AsyncIterator<string> | null = null;

async function readLine(): Promise<string | null> {
  // One reader for all of them: it reads ahead.
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const { value, done } = await lines.next();
  return done ? null : value;
}

/** The largest fragment that may be posted. */
const LARGEST_BODY_BYTES = 64 * 1024;

/** How long connections may stay open after the login, ms: the last page is still being sent. */
const LINGER_MS = 1000;

/** Only loopback hosts, and only requests of the callback page itself. */
const RULES = createBoundaryRules({ allowedHosts: [], corsOrigins: [], publicUrl: null });

/** Where to wait for the redirect, and for which credential. */
export interface CallbackOptions {
  readonly redirectUri: string;
  /** The credential's name. */
  readonly name: string;
  /** Take another port when that of `redirectUri` is in use. */
  readonly anyPort: boolean;
}

/** Listens at `redirectUri`. Throws gateway.request.invalid when that is another machine or its port is not free. */
export async function openCallbackListener(
  options: CallbackOptions,
  complete: (fields: string) => Promise<void>,
): Promise<CallbackListener> {
  const listener = new CallbackListener(options, complete);
  await listener.open();
  return listener;
}

/**
 * A loopback listener that waits for the redirect of one login, known by its state. Any other request gets a response
 * and has no effect: while a person logs in, any web page and any program of this machine may send requests here.
 */
export class CallbackListener {
  readonly #url: URL;
  readonly #options: CallbackOptions;
  readonly #complete: (fields: string) => Promise<void>;
  readonly #server: Server;
  /** Settles as the login does. */
  readonly #done: Promise<void>;
  #settle: (outcome: Promise<void>) => void = () => {};
  #state: string | null = null;
  #outcome: Promise<void> | null = null;

  constructor(options: CallbackOptions, complete: (fields: string) => Promise<void>) {
    this.#options = options;
    this.#complete = complete;
    this.#url = new URL(options.redirectUri);
    if (this.#url.protocol !== 'http:' || !isLoopbackAuthority(this.#url.host)) {
      throw new GatewayError(
        'gateway.request.invalid',
        `the login ends at ${options.redirectUri}, which is not this machine: use --paste`,
      );
    }
    this.#done = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#done.catch(() => undefined);
    this.#server = createServer((request, response) => {
      // The client may have disconnected, for example.
      this.#respond(request, response).catch(() => response.destroy());
    });
  }

  /** The redirect URI, with the port that is listened on. */
  get redirectUri(): string {
    return this.#url.href;
  }

  async open(): Promise<void> {
    const url = this.#url;
    const port = Number(url.port || 80);
    await listen(this.#server, url.hostname, port).catch((error: NodeJS.ErrnoException) => {
      if (this.#options.anyPort && error.code === 'EADDRINUSE') return listen(this.#server, url.hostname, 0);
      throw new GatewayError(
        'gateway.request.invalid',
        `${url.host} cannot be listened on (${error.code}): use --paste`,
      );
    });
    url.port = String((this.#server.address() as AddressInfo).port);
  }

  /** Waits for the redirect of the login with that state; resolves or rejects as the login ends. */
  awaitRedirect(state: string): Promise<void> {
    this.#state = state;
    return this.#done;
  }

  close(): void {
    this.#server.close();
    this.#server.closeIdleConnections();
    setTimeout(() => this.#server.closeAllConnections(), LINGER_MS).unref();
  }

  /** Completes the login by the first redirect with its state; a repeated one gets the same outcome. Throws else. */
  async #finish(fields: string): Promise<void> {
    const { state } = readCallback(fields, null);
    if (state !== this.#state)
      throw new GatewayError('gateway.request.invalid', 'this is not the answer to the login that is awaited here');
    this.#outcome ??= this.#complete(fields);
    this.#settle(this.#outcome);
    await this.#outcome;
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // The process ends after this response: connections must not stay open.
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
      response
        .writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
        .end(JSON.stringify(document));
    } else if (!hasOutcome(search)) {
      sendPage(response, 200, renderFragmentPage(null), 'login');
    } else {
      const { status, page } = await this.#finish(search).then(
        () => ({ status: 200, page: renderLoginDone(this.#options.name, null, null) }),
        (error: unknown) => ({ status: 400, page: renderLoginFailed(messageOf(error), null) }),
      );
      sendPage(response, status, page, 'login');
    }
  }

  /** Returns the query of an admitted request, or the status of the refusal. Origin and Host as at the gateway. */
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
    if (text.length > LARGEST_BODY_BYTES)
      throw new GatewayError('gateway.body.too.large', 'the answer of the login page is too large');
  }
  return text;
}

function messageOf(error: unknown): string {
  return isGatewayError(error) ? error.message : 'the login failed unexpectedly';
}

/** The variables that a browser inherits: what it needs to start and to find its screen, and no secret of ours. */
const PASSED_ON = new RegExp(
  `^(?:${[
    'PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR|BROWSER',
    'DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|XDG_.*|DBUS_.*|WSL.*',
    'SystemRoot|windir|APPDATA|LOCALAPPDATA|USERPROFILE|PATHEXT|ComSpec|ProgramFiles.*',
  ].join('|')})$`,
  'i',
);

/** Whether a browser can be shown to the user: not in a container, and not over SSH. */
export function hasBrowser({ env, platform }: Pick<Io, 'env' | 'platform'>): boolean {
  if (env.BROWSER === 'none' || env.CI !== undefined) return false;
  if (platform === 'darwin' || platform === 'win32') return env.SSH_CONNECTION === undefined;
  return Boolean(env.DISPLAY || env.WAYLAND_DISPLAY || env.WSL_DISTRO_NAME);
}

/** True when something was started. Never throws. */
export async function openBrowser(url: string, io: Pick<Io, 'env' | 'platform'>): Promise<boolean> {
  if (!hasBrowser(io)) return false;
  const kept = { ...process.env };
  try {
    const { default: open } = await import('open');
    // The child inherits the variables that are set when it starts.
    for (const name of Object.keys(process.env)) if (!PASSED_ON.test(name)) delete process.env[name];
    const child = await open(url);
    child.once('error', () => undefined);
    return true;
  } catch {
    // Without a browser the user still has the printed address.
    return false;
  } finally {
    Object.assign(process.env, kept);
  }
}
