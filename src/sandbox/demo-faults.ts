// The faults that `gcg demo --simulate` knows by name, and the switches of the simulation each stands for. None acts
// unless it is named.

import type { Switches } from './switches.ts';

interface DemoFault {
  readonly name: string;
  /** What a number stands for, in help; without one the fault takes none. */
  readonly value?: string;
  readonly usual: number;
  readonly doc: string;
  readonly switches: (number: number) => Partial<Switches>;
}

const FAULTS: readonly DemoFault[] = [
  {
    name: 'rate-limit',
    value: 'CALLS',
    usual: 300,
    doc: 'so many calls a minute, then 429 (300)',
    switches: (perMinute) => ({ rateLimit: { perMinute } }),
  },
  {
    name: 'slow',
    value: 'MS',
    usual: 2000,
    doc: 'each API answer takes so much longer (2000)',
    switches: (latencyMs) => ({ latencyMs }),
  },
  {
    name: 'server-error',
    value: 'N',
    usual: 5,
    doc: 'each Nth API call is answered 500 (5)',
    switches: (every) => ({ serverError: { status: 500, every } }),
  },
  {
    name: 'cut-body',
    value: 'N',
    usual: 5,
    doc: 'each Nth API answer breaks off half-way (5)',
    switches: (every) => ({ cutBody: { every } }),
  },
  {
    name: 'expire',
    value: 'SECONDS',
    usual: 30,
    doc: 'tokens live so long (30)',
    switches: (tokenLifetimeS) => ({ tokenLifetimeS }),
  },
  {
    name: 'throttle-login',
    value: 'N',
    usual: 3,
    doc: 'the first N token requests are refused as too many (3)',
    switches: (next) => ({ throttleLogin: { next } }),
  },
  {
    name: 'rotation',
    usual: 0,
    doc: 'each refresh token is good for one use',
    switches: () => ({ rotation: 'strict' }),
  },
];

const LARGEST_NUMBER = 1_000_000;

/** Name and meaning of each fault, for help. */
export const DEMO_FAULT_ROWS: readonly (readonly [string, string])[] = FAULTS.map(({ name, value, doc }) => [
  value === undefined ? name : `${name}[=${value}]`,
  doc,
]);

/** The switches for a list such as `rate-limit=60,slow`; otherwise what is wrong with it, in words for a person. */
export function readDemoFaults(list: string): { readonly switches: Partial<Switches> } | { readonly problem: string } {
  const switches: Partial<Switches> = {};
  for (const item of list.split(',').map((text) => text.trim())) {
    const [name = '', ...rest] = item.split('=');
    const fault = FAULTS.find((candidate) => candidate.name === name);
    if (fault === undefined)
      return { problem: `there is no such fault; there are ${FAULTS.map((known) => known.name).join(', ')}` };
    const text = rest.length === 0 ? String(fault.usual) : rest.join('=');
    if (rest.length > 0 && fault.value === undefined) return { problem: `${name} takes no value` };
    const number = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
    if (rest.length > 0 && !(number >= 1 && number <= LARGEST_NUMBER)) {
      return { problem: `${name} needs a whole number from 1 to ${LARGEST_NUMBER}` };
    }
    Object.assign(switches, fault.switches(number));
  }
  return { switches };
}
