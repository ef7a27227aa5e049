// An upstream whose every answer carries recognisable secrets: tokens, cookies, codes, in headers, in bodies of all
// kinds, in error messages.

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Canaries } from './canary.ts';
import { listenFor, type TearsDown } from './egress.ts';

/** What the token endpoint does at the moment. */
export type TokenMood = 'grant' | 'refuse' | 'fail' | 'nonsense';

/** A running one. */
export interface SecretUpstream {
  readonly origin: string;
  mood: TokenMood;
}

/** Starts it; it ends with the test. The last path segment of a call says how it is answered. */
export async function startSecretUpstream(t: TearsDown, canaries: Canaries): Promise<SecretUpstream> {
  const { accessToken, refreshToken, clientSecret, code, verifier, assertion, password, handle, cookie, channelId } =
    canaries;
  const leaky = {
    access_token: accessToken,
    deep: [{ refresh_token: refreshToken, client_secret: clientSecret, password, note: `Bearer ${accessToken}` }],
  };
  const state: { mood: TokenMood } = { mood: 'grant' };

  const grant = (response: ServerResponse) => {
    const bodies: Record<TokenMood, [number, string]> = {
      grant: [
        200,
        JSON.stringify({
          access_token: accessToken,
          refresh_token: refreshToken,
          token_type: 'bearer',
          expires_in: 86_400,
        }),
      ],
      refuse: [
        400,
        JSON.stringify({
          error: 'invalid_grant',
          description: `${clientSecret} and ${refreshToken} are not good`,
          error_description: code,
        }),
      ],
      fail: [500, `<html>${clientSecret} ${assertion}</html>`],
      nonsense: [200, JSON.stringify({ refresh_token: refreshToken, comment: accessToken })],
    };
    const [status, body] = bodies[state.mood];
    response.writeHead(status, { 'content-type': 'application/json', 'set-cookie': cookie }).end(body);
  };

  const answers: Record<string, (response: ServerResponse) => void> = {
    json: (response) => send(response, 200, 'application/json', JSON.stringify({ marker: 'seen-in-json', ...leaky })),
    gzip: (response) => {
      response.setHeader('content-encoding', 'gzip');
      send(response, 200, 'application/json', gzipSync(JSON.stringify({ marker: 'seen-in-gzip', ...leaky })));
    },
    text: (response) =>
      send(
        response,
        200,
        'text/plain',
        `marker seen-in-text\nAuthorization: Bearer ` +
          `${accessToken}\nclient_secret=${encodeURIComponent(clientSecret)}\n`,
      ),
    form: (response) =>
      send(
        response,
        200,
        'application/x-www-form-urlencoded',
        new URLSearchParams({ marker: 'seen-in-form', code, code_verifier: verifier }).toString(),
      ),
    string: (response) =>
      send(
        response,
        200,
        'application/json',
        JSON.stringify({ marker: 'seen-in-string', inner: JSON.stringify(leaky) }),
      ),
    error: (response) =>
      send(
        response,
        400,
        'application/json',
        JSON.stringify({ code: 'bad.request', message: `the token ${accessToken} is bad`, ...leaky }),
      ),
    unauthorized: (response) =>
      send(
        response,
        401,
        'application/json',
        JSON.stringify({ code: 'bad.credentials', message: `Bearer ${accessToken}` }),
      ),
    broken: (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100_000 });
      response.write(JSON.stringify(leaky), () => response.destroy());
    },
    redirect: (response) => {
      const token = encodeURIComponent(accessToken);
      response.setHeader(
        'location',
        `https://elsewhere.example/?access_token=${token}&code=${encodeURIComponent(code)}#access_token=${token}`,
      );
      send(response, 302, 'text/plain', '');
    },
    channels: (response) =>
      send(
        response,
        200,
        'application/json',
        JSON.stringify({ id: channelId, connectUri: `wss://streaming.example/channels/${channelId}` }),
      ),
  };

  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    request.on('end', () => {
      const path = (request.url ?? '').split('?')[0] ?? '';
      if (path.endsWith('/oauth/token')) return grant(response);
      response.setHeader('set-cookie', [cookie, `session=${handle}`]);
      response.setHeader('x-echo', `Bearer ${accessToken}`);
      (answers[path.split('/').at(-1) ?? ''] ?? answers.json)?.(response);
    });
  });
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: ` +
        `${cookie}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const message = JSON.stringify({ token: accessToken });
    socket.write(
      Buffer.concat([Buffer.from([0x81, 126, message.length >> 8, message.length & 255]), Buffer.from(message)]),
    );
  });
  const port = await listenFor(t, server);
  return Object.assign(state, { origin: `http://127.0.0.1:${port}` });
}

function send(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
