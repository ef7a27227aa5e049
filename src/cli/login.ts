// `gcg login [NAME]`: brings a person to the login page and its answer back. The address is always printed; a browser is opened where there is one.

import { createInterface } from 'node:readline';
import { withoutLogin } from '../auth/credentials/login.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { onOneLine } from '../config/problem.ts';
import { USER_GRANTS } from '../config/sections/credentials.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import { CALLBACK_PATH } from '../server/routes.ts';
import { exitCodeOf } from './admin-request.ts';
import type { CommandLine } from './args.ts';
import { EXIT, type Io } from './io.ts';
import { openLanding } from './login-landing.ts';
import { type BegunLogin, canRedeemForeignCode, createGatewayWay, createOwnWay, type LoginWay } from './login-way.ts';
import { openBrowser } from './open-browser.ts';
import { withOwnCredentials } from './own-credentials.ts';
import { findSubject, type KnownCredential } from './running-gateway.ts';

/** What a login needs of the outside, besides the network. */
export interface LoginOutside {
  readonly open: (url: string, io: Io) => Promise<boolean>;
  /** One line of standard input; null at its end. */
  readonly readLine: () => Promise<string | null>;
}

/** 0 logged in, 77 refused, 69 unavailable, 78 bad configuration, 2 usage. */
export async function login(args: CommandLine, io: Io, outside: LoginOutside = { open: openBrowser, readLine }): Promise<number> {
  const found = await findSubject(args, io);
  if (typeof found === 'number') return found;
  const { config, credential } = found;
  const misuse = refuse(args, credential);
  if (misuse !== undefined) {
    io.stderr.write(`gcg: ${onOneLine(misuse)}\n`);
    return EXIT.usage;
  }
  const attempt = (way: LoginWay) => perform(way, credential.name, args, io, outside).catch((error: unknown) => tell(error, io));
  if (found.kind === 'running') return attempt(createGatewayWay(found.ask, credential.name));
  if (config.store.type === 'memory') {
    io.stderr.write('gcg: no gateway is running, and without one a login would be lost ([store] type is memory): start gcg serve first\n');
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
  return error.code === 'gateway.request.invalid' ? EXIT.refused : exitCodeOf({ status: error.statusCode, code: error.code });
}

function refuse({ flags }: CommandLine, credential: KnownCredential): string | undefined {
  const { grantType } = credential;
  if (!USER_GRANTS.has(grantType)) return withoutLogin(credential);
  if (!flags.has('code')) return flags.has('redirect-uri') && !flags.has('paste') ? '--redirect-uri goes with --code or --paste' : undefined;
  if (flags.has('paste')) return 'give --code or --paste, not both';
  if (!canRedeemForeignCode(credential)) return `a code for ${grantType} can only be redeemed by whoever began its login: use --paste`;
  return flags.has('redirect-uri') ? undefined : '--code needs --redirect-uri, the one the code was issued for';
}

async function perform(way: LoginWay, name: string, { flags }: CommandLine, io: Io, outside: LoginOutside): Promise<number> {
  const redirectUri = textOf(flags.get('redirect-uri'));
  const code = textOf(flags.get('code'));
  if (code !== null) {
    const { state } = await way.begin(redirectUri);
    await way.complete(new URLSearchParams({ code, state }).toString());
  } else if (flags.has('paste')) {
    const { url } = await way.begin(redirectUri);
    io.stderr.write(`Open this address and log in:\n\n  ${url}\n\nThe browser ends at an address that may show no page. Paste that address here:\n`);
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
