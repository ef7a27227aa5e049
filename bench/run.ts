// `npm run bench -- [MODE…]`: the gateway and its peers side by side in one run, in interleaved rounds. CPU is user and
// system time of process trees by /proc, so it needs Linux; the gateway is `dist`, so it needs a build. Only ratios
// within one run mean anything, and none that is smaller than the spread. Times nothing for a test.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { contestants } from './contestants.ts';
import type { Results } from './measure.ts';
import { big } from './modes/big.ts';
import { idle } from './modes/idle.ts';
import { latency } from './modes/latency.ts';
import { load } from './modes/load.ts';
import type { Mode, Sizes } from './modes/mode.ts';
import { pause } from './modes/pause.ts';
import { start } from './modes/start.ts';

const MODES: readonly Mode[] = [start, idle, load, latency, big, pause];
/** The rest takes a few minutes; pauses take what they last. */
const USUAL = MODES.filter((mode) => mode !== pause);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    requests: { type: 'string', default: '5000' },
    connections: { type: 'string', default: '32' },
    'idle-connections': { type: 'string', default: '1000' },
    rate: { type: 'string', default: '300' },
    seconds: { type: 'string', default: '5' },
    mib: { type: 'string', default: '64' },
    pauses: { type: 'string', default: '8,60,300' },
    'round-trip-ms': { type: 'string', default: '40' },
    'upstream-idle': { type: 'string', default: '60' },
    against: { type: 'string', multiple: true, default: [] },
    flags: { type: 'string', multiple: true, default: [] },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
});

const HELP = `npm run bench -- [MODE…] [OPTION…]

${MODES.map(({ name, about }) => `  ${name.padEnd(10)}${about}`).join('\n')}
Without a mode: ${USUAL.map(({ name }) => name).join(', ')}.

  --rounds N             rounds of every mode (each has its own number else)
  --requests N --connections N --idle-connections N    load
  --rate N --seconds N                                 latency
  --mib N                                              big
  --pauses N,N --round-trip-ms N --upstream-idle N     pause; seconds, ms, seconds
  --against DIR          the gateway of another checkout as well, installed and built; may be repeated
  --flags="--FLAG …"     the gateway with these flags of Node as well; may be repeated; NAME=value is a variable
  --only NAME,NAME       only these beside the gateway: direct, http-proxy, node, go, nginx, haproxy, parts of names
  --json FILE            every sample, "-" for stdout instead of the tables
`;

function positive(option: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`--${option}: ${text} is no number above 0`);
  return number;
}

function listOf(text: string): string[] {
  return text.split(',').filter((part) => part !== '');
}

async function main(): Promise<void> {
  const unknown = positionals.filter((name) => !MODES.some((mode) => mode.name === name));
  if (values.help || unknown.length > 0) {
    process.stdout.write(HELP);
    if (unknown.length > 0) throw new Error(`unknown mode: ${unknown.join(', ')}`);
    return;
  }
  const sizes: Sizes = {
    rounds: values.rounds === undefined ? null : positive('rounds', values.rounds),
    requests: positive('requests', values.requests),
    connections: positive('connections', values.connections),
    idleConnections: positive('idle-connections', values['idle-connections']),
    rate: positive('rate', values.rate),
    seconds: positive('seconds', values.seconds),
    mib: positive('mib', values.mib),
    pauses: listOf(values.pauses).map((pauseSeconds) => positive('pauses', pauseSeconds)),
    roundTripMs: positive('round-trip-ms', values['round-trip-ms']),
    upstreamIdleSeconds: positive('upstream-idle', values['upstream-idle']),
  };
  const tell = (line: string) => void process.stderr.write(`${line}\n`);
  const all = contestants({ against: values.against, flags: values.flags, only: listOf(values.only) }, tell);
  const modes = positionals.length === 0 ? USUAL : MODES.filter(({ name }) => positionals.includes(name));
  const results: Results[] = [];
  for (const mode of modes) {
    const startedAt = performance.now();
    const told = await mode.run(all, sizes);
    results.push(...told);
    if (values.json !== '-') process.stdout.write(`${told.join('\n')}\n`);
    tell(`${mode.name} took ${((performance.now() - startedAt) / 1000).toFixed(0)} s\n`);
  }
  const text = `${JSON.stringify(results, null, 1)}\n`;
  if (values.json === '-') process.stdout.write(text);
  else if (values.json !== undefined) writeFileSync(values.json, text);
}

await main();
