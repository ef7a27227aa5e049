// IP addresses and CIDR blocks as they are written in settings, and whether an address is in one of them. An IPv4
// address counts as such in each of its spellings, `::ffff:10.0.0.1` among them.

import { BlockList, isIP, SocketAddress } from 'node:net';

/** Whether a text is an address or a block: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`. */
export function isAddressOrBlock(text: string): boolean {
  return parseBlock(text) !== null;
}

/** The one spelling of an address; null for what is none. A zone (`fe80::1%eth0`) is left out. */
export function canonicalAddress(text: string): string | null {
  const family = isIP(text);
  if (family !== 6) return family === 4 ? text : null;
  const [bare = ''] = text.split('%', 1);
  const { address } = new SocketAddress({ address: bare, family: 'ipv6' });
  return withoutMapping(address);
}

/** Addresses and blocks. Asking takes microseconds and never throws. */
export class AddressBlocks {
  /** Null where there is none: most gateways have none, and Node loads what makes lists. */
  #list: BlockList | null = null;
  /** The first address of each. */
  readonly #starts: string[] = [];

  /** Throws a TypeError for what `isAddressOrBlock` refuses. */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      const block = parseBlock(entry);
      if (block === null) throw new TypeError(`neither an address nor a CIDR block: ${entry}`);
      this.#list ??= new BlockList();
      this.#list.addSubnet(block.address, block.bits, familyOf(block.address));
      this.#starts.push(block.address);
    }
  }

  get isEmpty(): boolean {
    return this.#starts.length === 0;
  }

  /** Whether one of them holds the address; false for a text that is none. */
  has(address: string): boolean {
    if (this.#list === null) return false;
    const canonical = canonicalAddress(address);
    return canonical !== null && this.#list.check(canonical, familyOf(canonical));
  }

  /** Whether they and others have addresses in common: of two blocks that do, one holds the start of the other. */
  meets(others: AddressBlocks): boolean {
    return this.#starts.some((start) => others.has(start)) || others.#starts.some((start) => this.has(start));
  }
}

interface Block {
  readonly address: string;
  readonly bits: number;
}

function parseBlock(text: string): Block | null {
  const [written = '', bits, ...rest] = text.trim().split('/');
  if (rest.length > 0 || written.includes('%') || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return null;
  const address = canonicalAddress(written);
  if (address === null) return null;
  // A block of mapped addresses is one of IPv4 addresses.
  const shift = isIP(written) === 6 && isIP(address) === 4 ? 96 : 0;
  const longest = isIP(address) === 6 ? 128 : 32;
  const length = bits === undefined ? longest : Number(bits) - shift;
  return length < 0 || length > longest ? null : { address, bits: length };
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** An address as the system tells it, with `::ffff:` taken off an IPv4 one. */
export function withoutMapping(address: string): string {
  const plain = address.slice('::ffff:'.length);
  return address.toLowerCase().startsWith('::ffff:') && isIP(plain) === 4 ? plain : address;
}
