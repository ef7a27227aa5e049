// The faults of `gcg demo --simulate`, by name, and the switches that each turns on.

import { PERMISSION, type Switches } from './switches.ts';

/** A fault of `gcg demo --simulate`, and the switches that it turns on. */
interface DemoFault {
  readonly name: string;
  /** The placeholder of its number in help; without one the fault takes no number. */
  readonly value?: string;
  readonly usual: number;
  readonly doc: string;
  readonly switches: (number: number, text: string) => Partial<Switches>;
  /** Takes a text instead of a number: what is wrong with it, or null. */
  readonly refuse?: (text: string) => string | null;
}

/** The vendor's own example of a limit in a 429, and limits as they are announced for queues and for pages. */
const DIRECTORY = {
  namespace: 'directory',
  key: 'user.rate.per.minute',
  paths: ['/api/v2/users', '/api/v2/groups', '/api/v2/locations'],
};
const ASSIGNMENT = {
  namespace: 'routing',
  key: 'org.rate.per.minute',
  paths: ['/api/v2/routing', '/api/v2/conversations'],
  isShared: true,
};
const PAGES = {
  namespace: 'users',
  key: 'list.rate.per.minute',
  paths: ['/api/v2/users'],
  byPageSize: true,
};

const DEMO_FAULTS: readonly DemoFault[] = [
  {
    name: 'rate-limit',
    value: 'CALLS',
    usual: 300,
    doc: 'so many calls a minute, then 429 (300)',
    switches: (perMinute) => ({ rateLimit: { perMinute } }),
  },
  {
    name: 'service-limit',
    value: 'CALLS',
    usual: 180,
    doc: 'so many calls a minute of each token to the directory: users, groups (180)',
    switches: (perMinute) => ({ rateLimit: { services: [{ ...DIRECTORY, perMinute }] } }),
  },
  {
    name: 'org-limit',
    value: 'CALLS',
    usual: 600,
    doc: 'so many calls a minute of all tokens together to queues and conversations (600)',
    switches: (perMinute) => ({ rateLimit: { services: [{ ...ASSIGNMENT, perMinute }] } }),
  },
  {
    name: 'page-limit',
    value: 'CALLS',
    usual: 600,
    doc: 'so many calls a minute to users with pages of 25, fewer with larger ones (600)',
    switches: (perMinute) => ({ rateLimit: { services: [{ ...PAGES, perMinute }] } }),
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
    name: 'permissions',
    value: 'A:B:C+…',
    usual: 0,
    doc: 'only these are granted, with a + between; other routes answer 403 (directory:*:*)',
    switches: (_number, text) => ({ permissions: text === '0' ? ['directory:*:*'] : text.split('+') }),
    refuse: (text) => (text.split('+').every((one) => PERMISSION.test(one)) ? null : 'permissions like a:b:c+d:e:f'),
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
export const DEMO_FAULT_ROWS: readonly (readonly [string, string])[] = DEMO_FAULTS.map(({ name, value, doc }) => [
  value === undefined ? name : `${name}[=${value}]`,
  doc,
]);

/** Returns the switches for a list such as `rate-limit=60,slow`, or a message that says what is wrong with it. */
export function readDemoFaults(list: string): { readonly switches: Partial<Switches> } | { readonly problem: string } {
  const switches: Partial<Switches> = {};
  for (const item of list.split(',').map((text) => text.trim())) {
    const [name = '', ...rest] = item.split('=');
    const fault = DEMO_FAULTS.find((candidate) => candidate.name === name);
    if (fault === undefined)
      return { problem: `there is no such fault; there are ${DEMO_FAULTS.map((known) => known.name).join(', ')}` };
    const text = rest.length === 0 ? String(fault.usual) : rest.join('=');
    if (rest.length > 0 && fault.value === undefined) return { problem: `${name} takes no value` };
    if (fault.refuse !== undefined) {
      const wanted = rest.length === 0 ? null : fault.refuse(text);
      if (wanted !== null) return { problem: `${name} needs ${wanted}` };
      add(switches, fault.switches(0, text));
      continue;
    }
    const number = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
    if (rest.length > 0 && !(number >= 1 && number <= LARGEST_NUMBER)) {
      return { problem: `${name} needs a whole number from 1 to ${LARGEST_NUMBER}` };
    }
    add(switches, fault.switches(number, text));
  }
  return { switches };
}

/** Limits add up; of anything else the last word counts. */
function add(switches: Partial<Switches>, more: Partial<Switches>): void {
  const [before, next] = [switches.rateLimit, more.rateLimit];
  Object.assign(switches, more);
  if (!before || !next) return;
  const services = [...(before.services ?? []), ...(next.services ?? [])];
  switches.rateLimit = { ...before, ...next, ...(services.length > 0 && { services }) };
}
