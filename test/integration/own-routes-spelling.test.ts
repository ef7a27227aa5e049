// Routes of the gateway's own are reached by their plain spelling and by no other: rules and doors compare that one.

import t, { type Test } from 'tap';
import { clientNamed } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, parseAnswer } from '../helpers/raw-http.ts';

const ANYWHERE = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

/**
 * Every route that is not forwarded, with a method it takes. Those that change something are asked without the header
 * that they need.
 */
const ROUTES = [
  ['GET', '/'],
  ['GET', '/livez'],
  ['GET', '/healthz'],
  ['GET', '/readyz'],
  ['GET', '/metrics'],
  ['GET', '/-/status'],
  ['POST', '/-/reload'],
  ['POST', '/-/quit'],
  ['POST', '/-/credentials/default/refresh'],
  ['POST', '/-/credentials/default/logout'],
  ['POST', '/-/credentials/default/assertion'],
  ['GET', '/-/login/default'],
  ['POST', '/-/login/default'],
  ['GET', '/-/calls'],
  ['DELETE', '/-/calls'],
  ['GET', '/-/events'],
  ['GET', '/-/capture'],
  ['POST', '/-/export'],
  ['POST', '/-/ui/session'],
  ['POST', '/-/ui/link'],
  ['GET', '/-/callback'],
  ['POST', '/-/callback'],
  ['POST', '/oauth/token'],
  ['GET', '/oauth/authorize'],
  ['GET', '/logout'],
] as const;

const encode = (character: string) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
const last = (path: string) => path.lastIndexOf('/') + 1;

/** Other spellings that some router takes for the same path; null where the path has no such one. */
const SPELLINGS: Record<string, (path: string) => string | null> = {
  'first character encoded': (path) => (path.length < 2 ? null : `/${encode(path[1] as string)}${path.slice(2)}`),
  'last character encoded': (path) => (path.length < 2 ? null : path.slice(0, -1) + encode(path.at(-1) as string)),
  'encoded in capitals': (path) =>
    path.length < 2 ? null : `/${encode(path[1] as string).toUpperCase()}${path.slice(2)}`,
  'all encoded': (path) => (path.length < 2 ? null : path.replaceAll(/[^/]/g, encode)),
  'encoded twice': (path) => (path.length < 2 ? null : `/%25${encode(path[1] as string).slice(1)}${path.slice(2)}`),
  'slash encoded': (path) => (last(path) < 2 ? null : `${path.slice(0, last(path) - 1)}%2f${path.slice(last(path))}`),
  'doubled slash before': (path) => `/${path}`,
  'doubled slash inside': (path) => (last(path) < 2 ? null : `${path.slice(0, last(path))}/${path.slice(last(path))}`),
  'slash behind': (path) => (path === '/' ? null : `${path}/`),
  'encoded slash behind': (path) => `${path}%2f`,
  'upper case': (path) => (path.toUpperCase() === path ? null : path.toUpperCase()),
  'one capital': (path) =>
    last(path) === path.length ? null : path.replace(/[a-z](?=[^a-z]*$)/, (letter) => letter.toUpperCase()),
  'parameter behind': (path) => `${path};x=1`,
  'encoded blank behind': (path) => `${path}%20`,
  'NUL of another alphabet behind': (path) => `${path}%c0%80`,
};

/** Before which an SDK puts its prefixes; other routes have none. */
const WITH_PREFIX = /^\/(oauth|logout)/;
const PREFIXES = ['/login', '/api', '/default/login', '/default/api'];

function spellingsOf(path: string): [string, string][] {
  const all = Object.entries(SPELLINGS).map(([how, spell]) => [how, spell(path)] as const);
  if (!WITH_PREFIX.test(path))
    for (const prefix of [...PREFIXES, '/default']) all.push([`behind ${prefix}`, prefix + path]);
  // At the end of these stands a name: another one names another credential, and is no other spelling.
  const named = path.startsWith('/-/login/') ? ['one capital', 'parameter behind'] : [];
  return all.filter((one): one is [string, string] => one[1] !== null && !named.includes(one[0]));
}

async function statusOf(
  port: number,
  method: string,
  path: string,
  lines: readonly string[],
): Promise<{ status: number; code: string | undefined }> {
  const head = [`${method} ${path} HTTP/1.1`, 'Host: localhost', 'Content-Length: 0', ...lines];
  const { status, headers } = parseAnswer(await exchangeRaw(port, `${head.join('\r\n')}\r\n\r\n`));
  return { status, code: headers.find(([name]) => name === 'X-Gateway-Error')?.[1] };
}

const CALLERS: Record<string, { clients: boolean; lines: string[]; refused: number }> = {
  'an anonymous gateway': { clients: false, lines: [], refused: 404 },
  'a client with admin': { clients: true, lines: ['X-Gateway-Key: boss-secret'], refused: 404 },
  'a client without': { clients: true, lines: ['X-Gateway-Key: crm-secret'], refused: 404 },
  // To whom nothing is told of what there is.
  'nobody, where clients are configured': { clients: true, lines: [], refused: 401 },
};

async function start(t: Test, clients: boolean) {
  const started = await startGateway(t, {
    config: {
      server: { adminListen: ANYWHERE },
      ...(clients && { clients: [clientNamed('crm'), clientNamed('boss', { isAdmin: true })] }),
    },
  });
  return started.port;
}

for (const [who, { clients, lines, refused }] of Object.entries(CALLERS)) {
  t.test(`no other spelling of a route is that route: ${who}`, async (t) => {
    const port = await start(t, clients);
    for (const [method, path] of ROUTES) {
      for (const [how, spelling] of spellingsOf(path)) {
        const { status, code } = await statusOf(port, method, spelling, lines);
        // What cannot be read in one way only is refused as that, before anything else.
        const isRefused = status === refused || (status === 400 && code === 'gateway.request.invalid');
        if (!isRefused) t.fail(`${method} ${spelling} (${how}) is answered ${status} ${code}`);
      }
    }
    t.pass('all of them');
  });
}

t.test('control: the plain spellings are there', async (t) => {
  const port = await start(t, false);
  for (const [method, path] of ROUTES) t.not((await statusOf(port, method, path, [])).status, 404, `${method} ${path}`);
  for (const prefix of [...PREFIXES, '/default']) {
    t.equal((await statusOf(port, 'GET', `${prefix}/oauth/authorize?client_id=x`, [])).status, 302, prefix);
    t.not((await statusOf(port, 'POST', `${prefix}/oauth/token`, [])).status, 404, prefix);
  }
});
