// Words that explanations share: spans of time, sizes, lines of configuration, and what the gateway said itself.

import type { WhyFacts } from './why-facts.ts';
import type { Call, Why } from './wire.ts';

/** An explanation but for who it is about, which is known by the call. */
export type Explanation = Omit<Why, 'who'>;

/** Explains a call of one kind. */
export type Explain = (call: Call, facts: WhyFacts) => Explanation;

/** `240 ms`, `2.4 s`, `16 s`, `3 min`. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${Math.round(ms / 100) / 10} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

/** `512 bytes`, `1.5 MiB`. */
export function size(bytes: number): string {
  if (bytes < 1_024) return `${bytes} bytes`;
  const [unit, factor] = bytes < 2 ** 20 ? (['KiB', 1_024] as const) : (['MiB', 2 ** 20] as const);
  return `${Math.round((bytes / factor) * 10) / 10} ${unit}`;
}

/** A line for the configuration, with its section: `set [client.etl] allow[] = getUser`. */
export function setting(section: string, line: string): string {
  return `set [${section}] ${line}`;
}

/** `1 call`, `2 calls`. */
export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** Whether a call may be made twice without harm. */
export function isSafe({ method }: Call): boolean {
  return /^(?:GET|HEAD|OPTIONS)$/.test(method);
}

/** How to repeat a call of which nobody knows whether it was done. */
export function again(call: Call, when = ''): string {
  return isSafe(call) ? `Send it again${when}.` : `Look whether it was done, and send it again${when} if not.`;
}

/** How often it was sent, and why again. */
export function tries({ attempts, retries }: Call): string | null {
  if (attempts <= 1) return null;
  return `It was sent ${attempts} times${retries === undefined ? '' : ` (again after ${retries.join(', ')})`}.`;
}

/** What the gateway said, as a sentence; `otherwise` where it said nothing. */
export function said({ error }: Call, otherwise: string): string {
  return sentence(error ?? otherwise);
}

/** What the gateway said up to its advice: `what: do this` without the end. */
export function fault({ error }: Call, otherwise: string): string {
  return sentence(error?.split(': ', 1)[0] ?? otherwise);
}

/** With a capital and a full stop. A text that begins with a code or a name keeps its first letter. */
export function sentence(text: string): string {
  const begun = /^[a-z]+(?:[ ,]|: )/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?\u2026]$/.test(begun) ? begun : `${begun}.`;
}

/** Sentences side by side; what is null is left out. */
export function sentences(...parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null && part !== '').join(' ');
}

/** Steps, the best first; what is null is left out. */
export function steps(...parts: readonly (string | null)[]): readonly string[] {
  return parts.filter((part) => part !== null).map((part) => part.replace(/^set \[/, 'Set ['));
}

/** The path without its query. */
export function plainPath({ path }: Call): string {
  return path.split('?', 1)[0] ?? '';
}

/** How a call is named in a rule: by its operation where it has one, else by method and path. */
export function ruleFor(call: Call): string {
  const { operation, method } = call;
  return operation === undefined || operation === 'unlisted' ? `${method} ${plainPath(call)}` : operation;
}

/** The section that rules of a caller stand in, and what their keys begin with. */
export function rulesOf({ client }: Call): { readonly section: string; readonly prefix: string } {
  return client === undefined
    ? { section: 'server', prefix: 'anonymous_' }
    : { section: `client.${client}`, prefix: '' };
}

/** The section of a credential: `[credential]` is named default. */
export function credentialSection(name: string): string {
  return name === 'default' ? 'credential' : `credential.${name}`;
}

/** A command with the name of a credential, which the default one does not need. */
export function commandFor(command: string, name: string | undefined): string {
  return name === undefined || name === 'default' ? `gcg ${command}` : `gcg ${command} ${name}`;
}

/** ` in 12 s`, ` now`, from a moment; empty without one. */
export function inTime(at: number | null, now: number): string {
  if (at === null) return '';
  return at <= now ? ' now' : ` in ${span(at - now)}`;
}

/** How connections leave, and who chose that. */
export function way(wayOut: WhyFacts['wayOut']): string | null {
  if (wayOut === null) return null;
  return wayOut.via === 'direct'
    ? `Connections leave directly (${wayOut.reason}).`
    : `Connections leave through ${wayOut.via}, as ${wayOut.reason} says.`;
}
