// Addresses to listen on: how they are written, and whether other machines can reach them. It opens nothing.

import { type AddressInfo, isIP } from 'node:net';
import { quote } from './problem.ts';
import { err, ok, type Parsed } from './values.ts';

/** An address that can be called. */
export type CallableAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** Where a listener listens. `at` is where an inherited descriptor is bound, as somebody wrote it. */
export type ListenAddress =
  | CallableAddress
  | { readonly kind: 'fd'; readonly fd: number; readonly at?: CallableAddress };

/** In bytes: `sun_path` of unix(7) without its closing NUL. On Windows a named pipe, bounded by the system. */
const LONGEST_SOCKET_PATH = { linux: 107, win32: 32_767 }[process.platform as string] ?? 103;

/**
 * Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `unix:/path`, `fd:3` or `fd:3@127.0.0.1:8080`. Port 0 is any
 * free port.
 */
export function parseListenAddress(text: string): Parsed<ListenAddress> {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (!/^[/\\]|^[A-Za-z]:\\/.test(path))
      return err(`${quote(text)} needs an absolute path, as in unix:/run/gcg.sock`);
    const bytes = Buffer.byteLength(path);
    if (bytes > LONGEST_SOCKET_PATH) {
      return err(
        `${quote(text)} has a path of ${bytes} bytes, and a Unix socket here can have ${LONGEST_SOCKET_PATH}; ` +
          'write a shorter one, as in unix:/run/gcg.sock',
      );
    }
    return ok({ kind: 'unix', path });
  }
  if (text.startsWith('fd:')) return parseDescriptor(text);
  if (text.includes('/'))
    return err(`${quote(text)} is not an address; write host:port without http://, or unix:/path`);
  const match = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (match === null || host === undefined) {
    if (/^\d+$/.test(text)) return err(`${quote(text)} has no host; write 127.0.0.1:${text}`);
    if (/^(\*|):\d+$/.test(text)) {
      const port = text.slice(text.indexOf(':') + 1);
      return err(
        `${quote(text)} does not say which addresses; write 127.0.0.1:${port} for this machine, or 0.0.0.0:${port} ` +
          'for everybody',
      );
    }
    if (isIP(text) === 6) return err(`${quote(text)} has no port, or needs brackets; write [${text}]:8080`);
    const sixth = /^(.*):(\d{1,5})$/.exec(text);
    if (sixth?.[1] !== undefined && isIP(sixth[1]) === 6)
      return err(`${quote(text)} needs brackets; write [${sixth[1]}]:${sixth[2]}`);
    return err(`${quote(text)} is not an address; write 127.0.0.1:8080, [::1]:8080, unix:/path or fd:3`);
  }
  if (port > 65535) return err(`${quote(text)}: the port must be at most 65535`);
  if (match[1] !== undefined && isIP(host) !== 6)
    return err(`${quote(text)}: what stands in brackets is not an IPv6 address`);
  if (match[1] === undefined && /^[\d.]+$/.test(host) && isIP(host) !== 4)
    return err(`${quote(text)} holds no IPv4 address of four numbers`);
  return ok({ kind: 'tcp', host, port });
}

/** Reads `fd:3`, and `fd:3@ADDRESS` with the address that the descriptor is bound to. */
function parseDescriptor(text: string): Parsed<ListenAddress> {
  const [, digits, where] = /^fd:(\d{1,4})(?:@(.*))?$/s.exec(text) ?? [];
  const fd = Number(digits ?? -1);
  if (fd < 3) return err(`${quote(text)} needs a number from 3 up, as in fd:3`);
  if (where === undefined) return ok({ kind: 'fd', fd });
  const at = parseListenAddress(where);
  if (!at.ok) return at;
  if (at.value.kind === 'fd' || (at.value.kind === 'tcp' && at.value.port === 0))
    return err(`${quote(text)} needs the address that the socket is bound to, as in fd:${fd}@127.0.0.1:8080`);
  return ok({ kind: 'fd', fd, at: at.value });
}

/** Where a listener can be called; undefined for a descriptor of which only the number is known. */
export function callableAddress(address: ListenAddress): CallableAddress | undefined {
  return address.kind === 'fd' ? address.at : address;
}

/** The address as it is written in a configuration. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  if (address.kind === 'fd')
    return `fd:${address.fd}${address.at === undefined ? '' : `@${formatListenAddress(address.at)}`}`;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/**
 * Whether other machines can reach an address. Of an inherited descriptor this is known only once it is open; the
 * address written beside it is believed where it makes the rules stricter.
 */
export function isReachable(address: ListenAddress): boolean {
  const known = callableAddress(address);
  return known?.kind === 'tcp' && !isLoopbackHost(known.host);
}

/** Whether a socket is bound where the address written beside its descriptor says; a name is not looked up. */
export function isBoundAt(at: CallableAddress, bound: AddressInfo | string): boolean {
  if (typeof bound === 'string' || at.kind === 'unix') return typeof bound === 'string' && at.kind === 'unix';
  if (at.port !== bound.port) return false;
  // A name may stand for any address; of loopback there are several, and each is called in its own way.
  if (isWildcardHost(bound.address) || isWildcardHost(at.host) || isIP(at.host) === 0) return true;
  return at.host.toLowerCase() === bound.address.toLowerCase();
}

/** Whether an open socket is for users of this machine only: it is bound to a path or a loopback address. */
export function isLocalAddress(bound: AddressInfo | string): boolean {
  return typeof bound === 'string' || (isIP(bound.address) !== 0 && isLoopbackHost(bound.address));
}

/** Whether a host is 127.0.0.0/8, ::1, an IPv4-mapped form of them, localhost or a name below it. */
export function isLoopbackHost(host: string): boolean {
  const bare = stripBrackets(host).toLowerCase();
  const name = bare.endsWith('.') ? bare.slice(0, -1) : bare;
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  if (isIP(name) === 4) return name.startsWith('127.');
  // Node's expression for IPv6 takes 6 ms to compile: most gateways never see such an address.
  if (!name.includes(':') || isIP(name) !== 6) return false;
  const canonical = new URL(`http://[${name.replace(/%.*$/, '')}]`).hostname;
  return canonical === '[::1]' || /^\[::ffff:7f[0-9a-f]{2}:/.test(canonical);
}

/** Whether a host is 0.0.0.0 or ::, which listen everywhere and, as a destination, mean this machine. */
export function isWildcardHost(host: string): boolean {
  const name = stripBrackets(host);
  if (isIP(name) === 4) return name === '0.0.0.0';
  return (
    name.includes(':') &&
    isIP(name) === 6 &&
    ['[::]', '[::ffff:0:0]'].includes(new URL(`http://[${name.replace(/%.*$/, '')}]`).hostname)
  );
}

/** Removes the brackets of `[::1]`; any other host stays as it is. */
export function stripBrackets(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
}
