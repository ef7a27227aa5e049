// `gcg login`: begins a login, opens the browser or prints its address, and waits for the outcome; alone it listens on
// loopback for the answer.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { withoutLogin } from '../../auth/credentials/login.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { onOneLine } from '../../config/problem.ts';
import { USER_GRANTS } from '../../config/sections/credentials.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { assertOrigin, createBoundaryRules, isNavigation } from '../../server/admission.ts';
import { assertFraming } from '../../server/framing.ts';
import { CALLBACK_PATH } from '../../server/own-routes.ts';
import { renderFragmentPage, renderLoginDone, renderLoginFailed } from '../../server/pages/login-pages.ts';
import { sendPage } from '../../server/pages/page.ts';
import { hasAnswer, readCallback } from '../../server/routes/login.ts';
import { isLoopbackAuthority } from '../../server/routes/redirect-uri.ts';
import { exitCodeOf, findSubject, type KnownCredential } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';
import { type BegunLogin, canRedeemForeignCode, createGatewayWay, createOwnWay, type LoginWay } from '../login-flow.ts';
import { withOwnCredentials } from '../standalone.ts';

/** What a login needs of the outside, besides the network. */
export interface LoginOutside {
  readonly open: (url: string, io: Io) => Promise<boolean>;
  /** One line of standard input; null at its end. */
  readonly readLine: () => Promise<string | null>;
}

/** 0 logged in, 77 refused, 69 unavailable, 78 bad configuration, 2 usage. */
export async function login(
  args: CommandLine,
  io: Io,
  outside: LoginOutside = { open: openBrowser, readLine },
): Promise<number> {
  const found = await findSubject(args, io);
  if (typeof found === 'number') return found;
  const { config, credential } = found;
  const misuse = refuse(args, credential);
  if (misuse !== undefined) {
    io.stderr.write(`gcg: ${onOneLine(misuse)}\n`);
    return EXIT.usage;
  }
  const attempt = (way: LoginWay) =>
    perform(way, credential.name, args, io, outside).catch((error: unknown) => tell(error, io));
  if (found.kind === 'running') return attempt(createGatewayWay(found.ask, credential.name));
  if (config.store.type === 'memory') {
    io.stderr.write(
      'gcg: no gateway is running, and without one a login would be lost ([store] type is memory): start gcg serve ' +
        'first\n',
    );
    return EXIT.unavailable;
  }
  return withOwnCredentials(config, io, async (credentials) => {
    const own = credentials.get(credential.name);
    if (own === undefined) throw new GatewayError('gateway.credential.unknown', 'the credential is gone');
    return attempt(createOwnWay(own, fallbackUri(config)));
  });
}

/** A login that does not match, is too old or is malformed was refused too, only by us. */
function tell(error: unknown, io: Io): number {
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
  way: LoginWay,
  name: string,
  { flags }: CommandLine,
  io: Io,
  outside: LoginOutside,
): Promise<number> {
  const redirectUri = textOf(flags.get('redirect-uri'));
  const code = textOf(flags.get('code'));
  if (code !== null) {
    const { state } = await way.begin(redirectUri);
    await way.complete(new URLSearchParams({ code, state }).toString());
  } else if (flags.has('paste')) {
    const { url } = await way.begin(redirectUri);
    io.stderr.write(
      `Open this address and log in:\n\n  ${url}\n\nThe browser ends at an address that may show no page. Paste ` +
        `that address here:\n`,
    );
    const pasted = await outside.readLine();
    if (!pasted?.trim()) throw new GatewayError('gateway.request.invalid', 'nothing was pasted: start the login again');
    await way.complete(fieldsOf(pasted));
  } else {
    await inBrowser(way, name, io, outside);
  }
  io.stderr.write(`logged in: credential ${name} holds a token\n`);
  return EXIT.ok;
}

async function inBrowser(way: LoginWay, name: string, io: Io, { open }: LoginOutside): Promise<void> {
  const show = async (url: string) => {
    const wasOpened = await open(url, io);
    io.stderr.write(`${wasOpened ? 'A browser opens' : 'Open this address and log in'}:\n\n  ${url}\n\n`);
  };
  let begun: BegunLogin | null = null;
  if (way.landed !== undefined) {
    begun = await way.begin(null);
    if (new URL(begun.redirectUri).pathname.endsWith(CALLBACK_PATH)) {
      await show(begun.url);
      return way.landed(begun);
    }
  }
  const { redirectUri, isAnyPortGood } = way.home ?? { redirectUri: begun?.redirectUri ?? '', isAnyPortGood: false };
  const landing = await openLanding({ redirectUri, name, anyPort: isAnyPortGood }, (fields) => way.complete(fields));
  try {
    // A registered address is sent as it is written, octet by octet.
    const { url, state } = begun ?? (await way.begin(isAnyPortGood ? landing.redirectUri : null));
    const landed = landing.land(state);
    await show(url);
    await landed;
  } finally {
    landing.close();
  }
}

/** The port calls go to, which is most likely the one that was registered; any other will do. */
function fallbackUri({ server }: GatewayConfig): string {
  const listener = server.listen.find(({ kind }) => kind === 'tcp');
  const port = listener?.kind === 'tcp' ? listener.port : 0;
  return `http://127.0.0.1:${port}${CALLBACK_PATH}`;
}

/** The query or the fragment of a pasted address; an address without either is passed on and refused. */
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

async function readLine(): Promise<string | null> {
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    lines.close();
    return line;
  }
  return null;
}

/** The largest fragment that may be posted. */
const LARGEST_BODY_BYTES = 64 * 1024;

/**
 * How long a connection may stay when the login is over: the last page is on its way, and whoever holds one open holds
 * up nothing.
 */
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

/**
 * Listens where `redirectUri` leads. Throws gateway.request.invalid when it leads elsewhere, or the port cannot be had.
 */
export async function openLanding(
  options: LandingOptions,
  complete: (fields: string) => Promise<void>,
): Promise<Landing> {
  const landing = new Landing(options, complete);
  await landing.open();
  return landing;
}

/**
 * A listener that waits for the answer to one login, known by its state. Whatever else comes is answered and has no
 * effect: any web page, and any program of this machine, may send requests here while a person is logging in.
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
      throw new GatewayError(
        'gateway.request.invalid',
        `the login ends at ${options.redirectUri}, which is not this machine: use --paste`,
      );
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
      throw new GatewayError(
        'gateway.request.invalid',
        `${url.host} cannot be listened on (${error.code}): use --paste`,
      );
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

  /**
   * Ends the login by the first answer that has its state; each further one hears how that ended. Throws for any other.
   */
  async #finish(fields: string): Promise<void> {
    const { state } = readCallback(fields, null);
    if (state !== this.#state)
      throw new GatewayError('gateway.request.invalid', 'this is not the answer to the login that is awaited here');
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
      response
        .writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
        .end(JSON.stringify(document));
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

  /**
   * The query of a request that may come here, or the status with which it may not. Origin and Host are held to the
   * gateway's own rules.
   */
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

/** What a browser may know of our environment: where to show itself, and nothing of ours. */
const PASSED_ON =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR|BROWSER|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|XDG_.*|DBUS_.*|WSL.*|SystemRoot|windir|APPDATA|LOCALAPPDATA|USERPROFILE|PATHEXT|ComSpec|ProgramFiles.*)$/i;

/** Whether somebody sits before a screen: not in a container, nor at the far end of SSH. */
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
    // The child inherits what is there when it starts.
    for (const name of Object.keys(process.env)) if (!PASSED_ON.test(name)) delete process.env[name];
    const child = await open(url);
    child.once('error', () => undefined);
    return true;
  } catch {
    // Without a browser the printed address is all there is.
    return false;
  } finally {
    Object.assign(process.env, kept);
  }
}
