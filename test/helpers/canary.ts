// Recognisable secrets for tests, and a scanner that finds them in whatever disguise a leak may wear. The scanner
// proves itself first.

import { randomBytes } from 'node:crypto';

/** Every kind of secret the gateway handles. */
export const CANARY_KINDS = [
  'accessToken',
  'refreshToken',
  'clientSecret',
  'code',
  'verifier',
  'assertion',
  'password',
  'handle',
  'localSecret',
  'proxyPassword',
  'cookie',
  'channelId',
] as const;

export type CanaryKind = (typeof CANARY_KINDS)[number];

/** A secret that was found: which one, and in which disguise. */
export interface Leak {
  readonly kind: CanaryKind;
  readonly form: string;
}

export interface Canaries extends Readonly<Record<CanaryKind, string>> {
  /**
   * All leaks in a text; empty when there are none. Throws when the scanner itself is broken (its control is not
   * found).
   */
  scan(text: string): Leak[];
}

/** How many characters of a cut secret are still a leak. */
const CUT = 20;

/** A fresh set of distinct secrets, each 40 characters and more, with characters that encodings change. */
export function createCanaries(): Canaries {
  const make = (kind: string) => `${randomBytes(12).toString('hex')}/+${kind}~${randomBytes(9).toString('base64url')}`;
  const values = Object.fromEntries(CANARY_KINDS.map((kind) => [kind, make(kind)])) as Record<CanaryKind, string>;
  // In their own real shapes, where the shape is what redaction goes by.
  values.handle = `gcgh_${randomBytes(30).toString('base64url')}`;
  values.channelId = `streaming-7-${randomBytes(15).toString('hex')}`;
  values.cookie = `ININ-Auth=${randomBytes(24).toString('hex')}`;
  const needles = CANARY_KINDS.map((kind) => [kind, disguises(values[kind])] as const);
  const find = (text: string): Leak[] => {
    const lower = text.toLowerCase();
    const leaks: Leak[] = [];
    for (const [kind, forms] of needles) {
      for (const [form, needle] of forms)
        if (form.endsWith('hex') ? lower.includes(needle) : text.includes(needle)) leaks.push({ kind, form });
    }
    return leaks;
  };
  return {
    ...values,
    scan(text) {
      for (const [kind, forms] of needles) {
        for (const [form, needle] of forms) {
          const control = find(`${text.slice(0, 1000)} before ${needle} after`);
          if (!control.some((leak) => leak.kind === kind && leak.form === form))
            throw new Error(`the scanner does not find ${kind} as ${form}`);
        }
      }
      return find(text);
    },
  };
}

/**
 * The forms in which a secret still is one. Base64 is looked for at all three alignments, without the edges that depend
 * on the neighbours.
 */
function disguises(secret: string): [form: string, needle: string][] {
  const forms: [string, string][] = [
    ['raw', secret],
    ['cut', secret.slice(0, CUT)],
    ['reversed', [...secret].reverse().join('')],
    ['percent-encoded', encodeURIComponent(secret)],
    ['JSON-escaped', JSON.stringify(secret).slice(1, -1).replaceAll('/', '\\/')],
    ['hex', Buffer.from(secret).toString('hex')],
    ['percent-encoded throughout hex', Buffer.from(secret).toString('hex').replace(/../g, '%$&')],
  ];
  for (const offset of [0, 1, 2]) {
    const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)]);
    const inner = (text: string) => text.slice(offset === 0 ? 0 : 4, Math.floor(bytes.length / 3) * 4);
    forms.push(
      [`base64 at ${offset}`, inner(bytes.toString('base64'))],
      [`base64url at ${offset}`, inner(bytes.toString('base64url'))],
    );
  }
  return forms;
}
