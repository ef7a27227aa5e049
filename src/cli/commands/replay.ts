// `gcg replay`: makes a call again that the running gateway keeps, and says what came of it and what is different.

import { setTimeout as pause } from 'node:timers/promises';
import { compareCalls } from '../../inspector/compare.ts';
import type { CallAnswer, ReplayAnswer, ReplayWish } from '../../inspector/wire.ts';
import { printable } from '../../logging/format.ts';
import {
  type AdminRequest,
  type AdminResponse,
  type ConfigToAsk,
  createAdminRequest,
  exitCodeOf,
  loadToAsk,
  noGatewayAt,
  refusal,
} from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { CallText, jsonLine } from '../call-text.ts';
import { otherVersion, shownOrNull } from '../document.ts';
import { EXIT, hasColour, type Io } from '../io.ts';

/** A call that is made again is cut after five minutes. */
const LONGEST_MS = 310_000;
const LOOK_MS = 200;

/** 0 when it was made and went well, 1 when it failed or cannot be made, 2 for what is no id, 69 and 77 as the others. */
export async function replay(args: CommandLine, io: Io): Promise<number> {
  const [id = ''] = args.positionals;
  if (!/^[\w-]{1,64}$/.test(id)) {
    io.stderr.write('gcg: that is no id of a call: `gcg tail` and the log have them\nTry gcg replay --help.\n');
    return EXIT.usage;
  }
  const known = loadToAsk(args, io);
  const ask = createAdminRequest(known.config, io, { ...known, forPage: true });
  const path = `/-/calls/${id}`;
  // Before it is made again: it may fall out meanwhile.
  const before = await answered<CallAnswer>(ask('GET', path), known, io);
  if (typeof before === 'number') return before;
  const confirm = args.flags.get('confirm');
  const wish: ReplayWish = {
    ...(confirm !== undefined && { confirm: String(confirm) }),
    ...(args.flags.has('anyway') && { anyway: true }),
  };
  const made = await answered<ReplayAnswer>(ask('POST', `${path}/replay`, JSON.stringify(wish)), known, io);
  if (typeof made === 'number') return made;
  const after = await ended(ask, made.id);
  if (after === null) {
    io.stderr.write(
      `gcg: it still runs, or is not kept: gcg explain ${printable(String(made.id))} says what came of it\n`,
    );
    return EXIT.failure;
  }
  const shown = shownOrNull(after, (answer) =>
    args.flags.has('json')
      ? jsonLine(answer)
      : new CallText(hasColour(io)).explained(answer) + differences(before, answer),
  );
  if (shown === null) {
    io.stderr.write(otherVersion('call'));
    return EXIT.unavailable;
  }
  io.stdout.write(shown);
  const { status, errorCode } = after.call;
  return status > 0 && status < 400 && errorCode === undefined ? EXIT.ok : EXIT.failure;
}

/** The document, or the exit code after a message that says why there is none. */
async function answered<T>(asked: ReturnType<AdminRequest>, known: ConfigToAsk, io: Io): Promise<T | number> {
  const answer: AdminResponse | null | Error = await asked.catch((error: Error) => error);
  if (answer === null || answer instanceof Error) {
    io.stderr.write(`gcg: ${answer === null ? noGatewayAt(known.config) : printable(answer.message)}\n`);
    return answer === null && known.isBroken ? EXIT.badConfig : EXIT.unavailable;
  }
  if (answer.error === null) return answer.body as T;
  const { status, message } = answer.error;
  const advice =
    status === 409
      ? message.replace('"confirm" must be the call itself, ', 'say --confirm with the call itself, ')
      : message;
  io.stderr.write(
    `gcg: ${refusal({ status, message: advice.replace('"anyway": true makes', '--anyway makes') }, known)}\n`,
  );
  return [404, 409, 429].includes(status) ? EXIT.failure : exitCodeOf(answer.error);
}

/** The new call, when it has ended; null where it is not found in time. */
async function ended(ask: AdminRequest, id: string): Promise<CallAnswer | null> {
  const until = performance.now() + LONGEST_MS;
  while (performance.now() < until) {
    const answer = await ask('GET', `/-/calls/${encodeURIComponent(id)}`).catch(() => null);
    if (answer === null) return null;
    if (answer.error === null) return answer.body as CallAnswer;
    if (answer.error.status !== 404) return null;
    await pause(LOOK_MS);
  }
  return null;
}

/** What is different, one fact a line. */
function differences(before: CallAnswer, after: CallAnswer): string {
  const changed = compareCalls(before, after).outcome.filter(({ difference }) => difference !== 'same');
  const lines = changed.map(({ name, a, b }) => `  ${printable(`${name}: ${a ?? 'none'}, then ${b ?? 'none'}`)}\n`);
  return lines.length === 0 ? '\nNothing else than before.\n' : `\nBefore, and now\n${lines.join('')}`;
}
