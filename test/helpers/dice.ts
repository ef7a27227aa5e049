// Chance that can be repeated: the same seed makes the same choices in the same order (mulberry32).

/** Picks, and spoils. */
export interface Dice {
  /** 0 (inclusive) to `below` (exclusive), whole. */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** A copy with up to three octets, pieces or ends changed. */
  spoil(octets: Buffer): Buffer;
}

const BITS = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '\t',
  ':',
  ',',
  '%',
  '%2e',
  '%00',
  'é',
  '\x7f',
  '"',
  '\r\n\r\n',
  '0\r\n\r\n',
  'ffffffffffffffff\r\n',
];

export function createDice(seed: number): Dice {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number) => Math.floor(next() * below);
  const pick = <T>(from: readonly T[]): T => from[int(from.length)] as T;

  const ways: readonly ((octets: Buffer, at: number) => (Buffer | string)[])[] = [
    (octets, at) => [octets.subarray(0, at), Buffer.from([int(256)]), octets.subarray(at)],
    (octets, at) => [octets.subarray(0, at), octets.subarray(at + 1 + int(8))],
    (octets, at) => [octets.subarray(0, at), Buffer.from([int(256)]), octets.subarray(at + 1)],
    (octets, at) => [octets.subarray(0, at), pick(BITS), octets.subarray(at)],
    (octets, at) => {
      const from = int(octets.length);
      return [octets.subarray(0, at), octets.subarray(from, from + int(40)), octets.subarray(at)];
    },
    (octets, at) => [octets.subarray(0, at)],
    (octets, at) => [
      octets.subarray(0, at),
      pick(['a', '%', '/', '.']).repeat(pick([100, 1000, 20_000, 70_000])),
      octets.subarray(at),
    ],
  ];
  return {
    int,
    pick,
    chance: (probability) => next() < probability,
    spoil(octets) {
      let spoilt = octets;
      for (let left = int(4); left > 0; left -= 1) {
        const parts = pick(ways)(spoilt, int(spoilt.length + 1));
        spoilt = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
      }
      return spoilt;
    },
  };
}
