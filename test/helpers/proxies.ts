// Corporate proxies for tests: tiny CONNECT and SOCKS servers with switches for misbehaviour, and starters of squid,
// tinyproxy and dante. Everything listens on 127.0.0.1 at a free port and ends with the test that started it.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import tls from 'node:tls';

/** What a proxy of ours has seen, and how to end it. */
export interface TestProxy {
  readonly port: number;
  /** `host:port` of every tunnel that was asked for, in order. */
  readonly asked: string[];
  /** Raw heads of CONNECT requests. */
  readonly heads: string[];
  /** Connections from clients that are open now. */
  open(): number;
  /** Resolves when a client's connection has closed (also when one has closed already). */
  closed(): Promise<void>;
  close(): void;
}

export interface ConnectProxyOptions {
  /** `user:password`; others get 407. */
  readonly login?: string;
  /** Written instead of a tunnel; a function may do anything with the socket. */
  readonly answer?: string | ((socket: net.Socket) => void);
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Where a tunnel to `host` really goes; default: 127.0.0.1. */
  readonly resolve?: (host: string) => string;
}

/** An HTTP proxy that knows CONNECT alone. */
export async function startConnectProxy({
  login,
  answer,
  tls: secure,
  resolve = loopback,
}: ConnectProxyOptions = {}): Promise<TestProxy> {
  const { track, ...seen } = observe();
  const serve = (client: net.Socket) => {
    track(client);
    let head = '';
    const read = (chunk: Buffer) => {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      client.off('data', read);
      client.pause();
      seen.heads.push(head);
      const [, host = '', port = ''] = /^CONNECT \[?([^\]\s]+?)\]?:(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
      seen.asked.push(`${host}:${port}`);
      if (typeof answer === 'function') return answer(client);
      if (answer !== undefined) return client.end(answer);
      const expected = `Proxy-Authorization: Basic ${Buffer.from(login ?? '').toString('base64')}`;
      if (login !== undefined && !head.includes(expected)) {
        return client.end(
          'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="corp"\r\nContent-Length: ' +
            '5\r\n\r\nsorry',
        );
      }
      const upstream = net.connect(Number(port), resolve(host), () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        splice(client, upstream);
      });
      upstream.on('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n'));
    };
    client.on('data', read);
  };
  const server = secure ? tls.createServer(secure, serve) : net.createServer(serve);
  server.on('tlsClientError', () => {});
  return { ...seen, ...(await listen(server)) };
}

export interface SocksProxyOptions {
  /** SOCKS5 login `user:password`, or the SOCKS4 user id. */
  readonly login?: string;
  /** The reply code instead of a tunnel: 2 is "not allowed", 5 "connection refused" (SOCKS5). */
  readonly reply?: number;
  readonly resolve?: (host: string) => string;
}

/** A SOCKS server for versions 4, 4a and 5, CONNECT alone. `asked` shows names as the client sent them. */
export async function startSocksProxy({
  login,
  reply,
  resolve = loopback,
}: SocksProxyOptions = {}): Promise<TestProxy> {
  const { track, ...seen } = observe();
  const server = net.createServer((client) => {
    track(client);
    const next = reader(client);
    const tunnel = (host: string, port: number, granted: Buffer, refused: (code: number) => Buffer) => {
      seen.asked.push(`${host}:${port}`);
      if (reply !== undefined) return client.end(refused(reply));
      client.pause();
      const upstream = net.connect(port, resolve(host), () => {
        client.write(granted);
        splice(client, upstream);
      });
      upstream.on('error', () => client.end(refused(5)));
    };
    const version4 = async () => {
      const head = await next(7);
      const userId = await next.untilZero();
      const isName = head[3] === 0 && head[4] === 0 && head[5] === 0;
      const host = isName ? await next.untilZero() : [...head.subarray(3, 7)].join('.');
      const refused = () => Buffer.of(0, 0x5b, 0, 0, 0, 0, 0, 0);
      if (login !== undefined && userId !== login) return client.end(refused());
      tunnel(host, head.readUInt16BE(1), Buffer.of(0, 0x5a, 0, 0, 0, 0, 0, 0), refused);
    };
    const version5 = async () => {
      const [count = 0] = await next(1);
      const methods = await next(count);
      const method = login === undefined ? 0 : 2;
      if (!methods.includes(method)) return client.end(Buffer.of(5, 0xff));
      client.write(Buffer.of(5, method));
      if (method === 2) {
        const [, userLength = 0] = await next(2);
        const user = (await next(userLength)).toString();
        const [passwordLength = 0] = await next(1);
        const ok = `${user}:${(await next(passwordLength)).toString()}` === login;
        client.write(Buffer.of(1, ok ? 0 : 1));
        if (!ok) return client.end();
      }
      const [, , , kind] = await next(4);
      let host: string;
      if (kind === 3) host = (await next((await next(1))[0] ?? 0)).toString();
      else if (kind === 1) host = [...(await next(4))].join('.');
      else host = (await next(16)).toString('hex').replace(/(.{4})(?!$)/g, '$1:');
      const port = (await next(2)).readUInt16BE();
      tunnel(host, port, Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0), (code) => Buffer.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0));
    };
    next(1).then(([version]) => (version === 4 ? version4() : version5()));
  });
  return { ...seen, ...(await listen(server)) };
}

/** A port on 127.0.0.1 where nothing listens. */
export async function freePort(): Promise<number> {
  // Below the ports that the system gives away by itself: none of them comes to another test meanwhile.
  for (;;) {
    const server = net.createServer();
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** A real proxy program. */
export interface RealProxy {
  readonly port: number;
  readonly username: string;
  readonly password: string;
  close(): Promise<void>;
}

/**
 * Why a program's tests are left out here; null when it can run. With CI=true it is never left out, so that it fails
 * instead.
 */
export function missingProgram(path: string, { needsRoot = false } = {}): string | null {
  if (process.env.CI === 'true') return null;
  if (!existsSync(path)) return `${path} is not installed`;
  return needsRoot && process.getuid?.() !== 0
    ? `${path} checks passwords of system users, and making one takes root`
    : null;
}

export const SQUID = '/usr/sbin/squid';
export const TINYPROXY = '/usr/bin/tinyproxy';
export const DANTED = '/usr/sbin/danted';

/** squid with Basic authentication by its own helper program. */
export async function startSquid(): Promise<RealProxy> {
  const folder = temporaryFolder();
  const port = await freePort();
  const [username, password] = ['corp user', 'p@ss:w%rd'];
  const hash = execFileSync('openssl', ['passwd', '-apr1', '-stdin'], { input: `${password}\n` })
    .toString()
    .trim();
  writeFileSync(join(folder, 'users'), `${username}:${hash}\n`);
  const helper = [
    '/usr/lib/squid/basic_ncsa_auth',
    '/usr/lib64/squid/basic_ncsa_auth',
    '/usr/libexec/squid/basic_ncsa_auth',
  ].find(existsSync);
  writeFileSync(
    join(folder, 'squid.conf'),
    `http_port 127.0.0.1:${port}
auth_param basic program ${helper} ${join(folder, 'users')}
auth_param basic children 2 startup=1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
pid_filename ${join(folder, 'squid.pid')}
cache_log ${join(folder, 'cache.log')}
access_log none
coredump_dir ${folder}
netdb_filename none
shutdown_lifetime 0 seconds
`,
  );
  return startProgram(SQUID, ['-N', '-f', join(folder, 'squid.conf')], { port, folder, username, password });
}

/** tinyproxy with Basic authentication; its CONNECT is allowed for any port. */
export async function startTinyproxy(): Promise<RealProxy> {
  const folder = temporaryFolder();
  const port = await freePort();
  const [username, password] = ['corpuser', 'p4ss-word'];
  const file = join(folder, 'tinyproxy.conf');
  writeFileSync(
    file,
    `Port ${port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\nBasicAuth ${username} ` +
      `${password}\nLogFile "${join(folder, 'log')}"\n`,
  );
  return startProgram(TINYPROXY, ['-d', '-c', file], { port, folder, username, password });
}

/**
 * dante with SOCKS5 username and password. Dante checks system users only, so one is made for the test; that takes
 * root.
 */
export async function startDante(): Promise<RealProxy> {
  const folder = temporaryFolder();
  const port = await freePort();
  const username = `gcgtest${process.pid}`;
  const password = 'p4ss word';
  execFileSync('useradd', ['--no-create-home', '--shell', '/usr/sbin/nologin', username]);
  execFileSync('chpasswd', { input: `${username}:${password}\n` });
  const file = join(folder, 'danted.conf');
  writeFileSync(
    file,
    `logoutput: ${join(folder, 'log')}
internal: 127.0.0.1 port = ${port}
external: lo
clientmethod: none
socksmethod: username
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 socksmethod: username }
`,
  );
  const dropUser = () => void execFileSync('userdel', [username]);
  return startProgram(DANTED, ['-f', file, '-p', join(folder, 'pid')], {
    port,
    folder,
    username,
    password,
    afterwards: dropUser,
  });
}

async function startProgram(
  program: string,
  args: string[],
  {
    folder,
    afterwards = () => {},
    ...proxy
  }: { port: number; folder: string; username: string; password: string; afterwards?: () => void },
): Promise<RealProxy> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: folder, detached: true });
  // A test that is ended from outside leaves nothing running.
  const kill = () => void child.kill('SIGTERM');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  const clean = () => {
    rmSync(folder, { recursive: true, force: true });
    afterwards();
  };
  child.once('error', () => {});
  while (!(await accepts(proxy.port))) {
    if (child.exitCode === null && child.pid !== undefined) continue;
    const log = ['cache.log', 'log'].map((name) => join(folder, name)).filter(existsSync);
    const text = `${output}\n${log.map((file) => readFileSync(file, 'utf8')).join('\n')}`;
    clean();
    throw new Error(`${program} does not start: ${text}`);
  }
  return {
    ...proxy,
    async close() {
      await end(child);
      clean();
    },
  };
}

/**
 * Asks the program to end, which ends the helpers it started; what is left of its process group after 5 s is killed.
 */
async function end(child: ChildProcess): Promise<void> {
  const { pid } = child;
  if (child.exitCode !== null || pid === undefined) return;
  const exited = once(child, 'exit');
  const killGroup = () => {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // The whole group has ended.
    }
  };
  child.kill('SIGTERM');
  const impatient = setTimeout(killGroup, 5000);
  await exited;
  clearTimeout(impatient);
  killGroup();
}

async function accepts(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    await setImmediate();
    return false;
  } finally {
    socket.destroy();
  }
}

/** Readable and enterable for the user the program changes to. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-proxy-'));
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o777);
  return folder;
}

function loopback(host: string): string {
  return net.isIPv6(host) ? '::1' : '127.0.0.1';
}

function splice(client: net.Socket, upstream: net.Socket): void {
  client.pipe(upstream).pipe(client);
  client.on('close', () => upstream.destroy());
  upstream.on('close', () => client.destroy());
}

function observe() {
  const clients = new Set<net.Socket>();
  let hasClosed = () => {};
  const firstClose = new Promise<void>((resolve) => {
    hasClosed = resolve;
  });
  return {
    asked: [] as string[],
    heads: [] as string[],
    open: () => clients.size,
    closed: () => firstClose,
    track(client: net.Socket) {
      clients.add(client);
      client.on('error', () => {});
      client.on('close', () => {
        clients.delete(client);
        hasClosed();
      });
    },
  };
}

async function listen(server: net.Server): Promise<{ port: number; close(): void }> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Reads exact numbers of bytes; never settles when the connection ends first. */
function reader(socket: net.Socket) {
  let buffered = Buffer.alloc(0);
  let wake = () => {};
  socket.on('data', (chunk) => {
    buffered = Buffer.concat([buffered, chunk]);
    wake();
  });
  const take = async (length: number): Promise<Buffer> => {
    while (buffered.length < length) await new Promise<void>((resolve) => (wake = resolve));
    const taken = buffered.subarray(0, length);
    buffered = buffered.subarray(length);
    return taken;
  };
  const untilZero = async () => {
    let text = '';
    for (let [byte] = await take(1); byte; [byte] = await take(1)) text += String.fromCharCode(byte);
    return text;
  };
  return Object.assign(take, { untilZero });
}
