// A call as Markdown, for a ticket. Pure: the page copies it, the terminal prints it.

import type { Attempt, Call, Why } from './wire.ts';

/** What a person pastes: what happened and why, without headers and bodies. Nothing of the call becomes markup. */
export function callMarkdown(call: Call, why: Why | null, version: string): string {
  const facts: [string, string | undefined][] = [
    ['time', call.time],
    ['request id', call.requestId],
    ['correlation id', call.correlationId],
    ['client', call.client],
    ['credential', call.credential],
    ['token', call.tokenFingerprint],
    ['code', call.errorCode],
    [
      'platform',
      [call.platform?.code, call.platform?.message].filter((part) => part !== undefined).join(': ') || undefined,
    ],
    ['took', durations(call)],
    ['sent again', call.retries?.join(', ')],
    ['held by', call.heldBy],
  ];
  const lines = [
    `**${code(`${call.method} ${call.path}`)} → ${call.status === 0 ? 'no answer' : call.status}**`,
    '',
    ...(why === null ? [] : whyLines(why)),
    ...facts.flatMap(([name, value]) => (value === undefined ? [] : [`- ${name}: ${code(value)}`])),
    ...(call.trace?.attempts ?? []).map((attempt, at) => `- attempt ${at + 1}: ${code(attemptWords(attempt))}`),
    '',
    `genesys-cloud-gateway ${version}`,
  ];
  return `${lines.join('\n')}\n`;
}

function whyLines({ title, text, todo }: Why): string[] {
  return [
    `${plain(title.charAt(0).toUpperCase() + title.slice(1))}. ${plain(text)}`,
    '',
    ...todo.map((step, at) => `${at + 1}. ${plain(step)}`),
    '',
  ];
}

function durations({ durationMs, queueMs, tokenWaitMs, upstreamMs, attempts }: Call): string {
  const parts = [`${Math.round(durationMs)} ms`, `${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`];
  if (queueMs >= 1) parts.push(`queue ${Math.round(queueMs)} ms`);
  if (tokenWaitMs >= 1) parts.push(`token ${Math.round(tokenWaitMs)} ms`);
  if (upstreamMs >= 1) parts.push(`platform ${Math.round(upstreamMs)} ms`);
  return parts.join(', ');
}

function attemptWords({ status, error, ms, wait, idle, dial }: Attempt): string {
  const parts = [`${status ?? error ?? 'no answer'}`, `${Math.round(ms)} ms`];
  if (wait !== undefined) parts.push(`waited ${Math.round(wait)} ms for the answer`);
  if (dial !== undefined) parts.push('new connection');
  else if (idle !== undefined) parts.push(`connection idle for ${Math.round(idle)} ms`);
  return parts.join(', ');
}

/** A code span that holds the text, whatever backticks are in it (CommonMark, section 6.1). */
function code(text: string): string {
  const line = oneLine(text);
  const longest = Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  const pad = line.startsWith('`') || line.endsWith('`') || line === '' ? ' ' : '';
  return `${fence}${pad}${line}${pad}${fence}`;
}

/** Text that is text: what could begin markup, a link, a mention or HTML is escaped. */
function plain(text: string): string {
  return oneLine(text)
    .replace(/[\\`*_{}[\]()#+!|<>~@&]/g, '\\$&')
    .replace(/:\/\//g, ':\\/\\/');
}

/** Control characters, line ends and marks that reorder text are spaces. */
function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+/g, ' ');
}
