// A loopback listener for the end of one login, where no gateway runs that the browser could come back to. It serves one path and is then gone.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GatewayError, isGatewayError } from '../errors.ts';
import { hasAnswer } from '../server/login/callback-fields.ts';
import { isLoopbackAuthority } from '../server/login/redirect-uri.ts';
import { renderFragmentPage, renderLoginDone, renderLoginFailed } from '../server/pages/login-pages.ts';
import { sendPage } from '../server/pages/page.ts';

/** An open landing. */
export interface Landing {
  /** With the port that was found. */
  readonly redirectUri: string;
  /** Ends with the login's outcome, once one with an answer came: what `complete` threw, or nothing. */
  readonly done: Promise<void>;
  close(): void;
}

/** The largest fragment that may be posted. */
const LARGEST_BODY_BYTES = 64 * 1024;

/** Listens where `redirectUri` leads. With `anyPort` another port is taken when that one is in use. Throws gateway.request.invalid. */
export async function openLanding(
  { redirectUri, name, anyPort }: { redirectUri: string; name: string; anyPort: boolean },
  complete: (fields: string) => Promise<void>,
): Promise<Landing> {
  const url = new URL(redirectUri);
  if (url.protocol !== 'http:' || !isLoopbackAuthority(url.host)) {
    throw new GatewayError('gateway.request.invalid', `the login ends at ${redirectUri}, which is not this machine: use --paste`);
  }
  let settle: (outcome: Promise<void>) => void = () => {};
  const done = new Promise<void>((resolve) => {
    settle = resolve as typeof settle;
  });
  done.catch(() => undefined);
  const finish = async (fields: string) => {
    const outcome = complete(fields);
    settle(outcome);
    await outcome;
  };
  const server = createServer((request, response) => void answer(request, response, url.pathname, name, finish));
  const port = Number(url.port || 80);
  await listen(server, url.hostname, port).catch((error: NodeJS.ErrnoException) => {
    if (anyPort && error.code === 'EADDRINUSE') return listen(server, url.hostname, 0);
    throw new GatewayError('gateway.request.invalid', `${url.host} cannot be listened on (${error.code}): use --paste`);
  });
  url.port = String((server.address() as AddressInfo).port);
  return {
    redirectUri: url.href,
    done,
    close() {
      server.close();
      server.closeIdleConnections();
    },
  };
}

function listen(server: ReturnType<typeof createServer>, hostname: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: hostname.replace(/^\[|\]$/g, ''), port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  name: string,
  finish: (fields: string) => Promise<void>,
): Promise<void> {
  // The process ends after this answer: nothing is to be kept open for it.
  response.setHeader('Connection', 'close');
  const { pathname, search } = new URL(request.url ?? '/', 'http://landing.invalid');
  if (!isLoopbackAuthority(request.headers.host ?? '') || pathname !== path) {
    response.writeHead(404).end();
  } else if (request.method === 'POST' && request.headers['x-gateway-request'] === '1') {
    const outcome = await readBody(request)
      .then(finish)
      .then(
        () => ({ status: 200, document: { credential: name } }),
        (error: unknown) => ({ status: 400, document: { message: messageOf(error) } }),
      );
    response.writeHead(outcome.status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(outcome.document));
  } else if (request.method !== 'GET') {
    response.writeHead(405).end();
  } else if (!hasAnswer(search)) {
    sendPage(response, 200, renderFragmentPage(null), 'login');
  } else {
    const page = await finish(search).then(
      () => renderLoginDone(name, null),
      (error: unknown) => renderLoginFailed(messageOf(error), null),
    );
    sendPage(response, 200, page, 'login');
  }
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
