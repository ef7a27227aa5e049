// Which hosts a proxy is not used for: names, suffixes, ports, IPv4 and IPv6 ranges, `*`. Compares text and addresses;
// asks no DNS.

import { BlockList, isIP } from 'node:net';
import { stripBrackets } from './listen-address.ts';

/** Whether a host is exempt from the proxy. `host` without brackets. */
export interface NoProxy {
  matches(host: string, port: number): boolean;
  /** Entries that can never match anything (`10.0.0.0/99`), as written, for a warning. */
  readonly unusable: readonly string[];
}

type Rule = (host: string) => boolean;

/**
 * Reads entries (commas or blanks also separate within one). `x` and `.x` mean x and everything below it, as in curl;
 * `*.x` only what is below; other `*` stand for any text; `x:443` holds for that port only; an address or CIDR range is
 * compared with literal addresses.
 */
export function parseNoProxy(entries: readonly string[]): NoProxy {
  const rules: { port: number | null; matches: Rule }[] = [];
  const unusable: string[] = [];
  for (const entry of entries.flatMap((text) => text.split(/[\s,]+/)).filter((text) => text !== '')) {
    const { name, port } = splitPort(entry.toLowerCase());
    const matches = ruleOf(name);
    if (matches && (port === null || (port > 0 && port < 65536))) rules.push({ port, matches });
    else unusable.push(entry);
  }
  return {
    unusable,
    matches: (host, port) => {
      const name = stripBrackets(host.toLowerCase()).replace(/\.$/, '');
      return rules.some((rule) => (rule.port === null || rule.port === port) && rule.matches(name));
    },
  };
}

/** `name:443`, `[::1]:443`, `[::1]`, and `::1`, which has colons but no port. */
function splitPort(entry: string): { name: string; port: number | null } {
  const bracketed = /^\[([^\]]*)\](?::(\d+))?$/.exec(entry);
  const plain = /^([^:]*):(\d+)$/.exec(entry);
  const [, name = entry, port] = bracketed ?? plain ?? [];
  return { name, port: port === undefined ? null : Number(port) };
}

function ruleOf(name: string): Rule | null {
  const slash = name.indexOf('/');
  if (slash !== -1) return rangeRule(name.slice(0, slash), name.slice(slash + 1));
  if (isIP(name) !== 0) return rangeRule(name, isIP(name) === 4 ? '32' : '128');
  if (name.includes('*')) return globRule(name);
  const suffix = name.replace(/^\.+/, '').replace(/\.$/, '');
  if (suffix === '') return null;
  return (host) => host === suffix || (host.endsWith(`.${suffix}`) && isIP(host) === 0);
}

function rangeRule(address: string, prefixText: string): Rule | null {
  const family = isIP(stripBrackets(address));
  const prefix = /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : Number.NaN;
  if (family === 0 || !(prefix <= (family === 4 ? 32 : 128))) return null;
  const range = new BlockList();
  range.addSubnet(stripBrackets(address), prefix, family === 4 ? 'ipv4' : 'ipv6');
  return (host) => {
    const hostFamily = isIP(host);
    return hostFamily !== 0 && range.check(host, hostFamily === 4 ? 'ipv4' : 'ipv6');
  };
}

/**
 * Each piece where it first fits: a regular expression would try all the places, which takes for ever with some `*` and
 * a long name.
 */
function globRule(glob: string): Rule {
  const parts = glob.split(/\*+/);
  const first = parts.shift() ?? '';
  const last = parts.pop() ?? '';
  return (host) => {
    if (!host.startsWith(first) || !host.endsWith(last)) return false;
    let at = first.length;
    for (const part of parts) {
      const found = host.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return at <= host.length - last.length;
  };
}
