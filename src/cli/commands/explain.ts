// `gcg explain`: why one call failed, what to do, and where its time went, as the running gateway tells it.

import { callMarkdown } from '../../inspector/call-markdown.ts';
import { COPY_FORMS, copyOf } from '../../inspector/copies.ts';
import type { CallAnswer, CallsAnswer } from '../../inspector/wire.ts';
import { VERSION } from '../../version.ts';
import { type AdminRequest, createAdminRequest, exitCodeOf, loadToAsk, noGatewayAt, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { CallText, jsonLine } from '../call-text.ts';
import { otherVersion, shownOrNull } from '../document.ts';
import { EXIT, hasColour, type Io } from '../io.ts';

/** 0: the call is shown; 1: no such call is kept; 2: that is no id; 69: no gateway answers; 77: it does not tell. */
export async function explain(args: CommandLine, io: Io): Promise<number> {
  const [word = 'last'] = args.positionals;
  // The address that an answer carries ends with the id.
  const id = /^https?:\/\/\S+#\/calls\/([\w-]+)$/.exec(word)?.[1] ?? word;
  if (!/^[\w-]{1,64}$/.test(id)) {
    io.stderr.write(
      'gcg: that is no id of a call: X-Gateway-Request-Id of an answer has one\nTry gcg explain --help.\n',
    );
    return EXIT.usage;
  }
  const form = args.flags.get('as');
  if (form !== undefined && !COPY_FORMS.has(String(form))) {
    io.stderr.write(`gcg: --as is one of ${[...COPY_FORMS.keys()].join(', ')}\nTry gcg explain --help.\n`);
    return EXIT.usage;
  }
  const known = loadToAsk(args, io);
  const ask = createAdminRequest(known.config, io, { ...known, forPage: true });
  const found = id === 'last' ? await lastCall(ask) : { id };
  if (found === undefined) return fail(io, 'no call was made yet, or none is kept any more', EXIT.failure);
  const isFound = found !== null && 'id' in found;
  const answer = isFound ? await asked(ask, `/-/calls/${encodeURIComponent(found.id)}`) : found;
  if (answer instanceof Error) return fail(io, answer.message, EXIT.unavailable);
  if (answer === null) return fail(io, noGatewayAt(known.config), known.isBroken ? EXIT.badConfig : EXIT.unavailable);
  if (answer.error !== null) {
    const isMissing = answer.error.status === 404;
    // A list that is not there is none of any call: the gateway keeps none.
    const missing = isFound ? EXIT.failure : EXIT.unavailable;
    return fail(io, refusal(answer.error, known), isMissing ? missing : exitCodeOf(answer.error));
  }
  const shown = shownOrNull(answer.body as CallAnswer, (body) =>
    form !== undefined
      ? (copyOf(String(form), body) ?? '')
      : args.flags.has('json')
        ? jsonLine(body)
        : args.flags.has('markdown')
          ? callMarkdown(body.call, body.why, VERSION)
          : new CallText(hasColour(io)).explained(body),
  );
  if (shown === null) {
    io.stderr.write(otherVersion('call'));
    return EXIT.unavailable;
  }
  if (shown === '') return fail(io, 'it cannot be written as one of its operation: --as curl', EXIT.failure);
  io.stdout.write(shown);
  return EXIT.ok;
}

type Asked = Awaited<ReturnType<AdminRequest>> | Error;

function asked(ask: AdminRequest, path: string): Promise<Asked> {
  return ask('GET', path).catch((error: Error) => error);
}

/** The last call that failed, else the last one; undefined where there is none; the answer where that is no list. */
async function lastCall(ask: AdminRequest): Promise<{ readonly id: string } | Asked | undefined> {
  for (const filter of ['failed:yes', '']) {
    const answer = await asked(ask, `/-/calls?limit=1&f=${encodeURIComponent(filter)}`);
    if (answer === null || answer instanceof Error || answer.error !== null) return answer;
    const [call] = (answer.body as Partial<CallsAnswer> | null)?.calls ?? [];
    if (call !== undefined) return { id: String(call.seq) };
  }
  return undefined;
}

function fail(io: Io, message: string, code: number): number {
  io.stderr.write(`gcg: ${message}\n`);
  return code;
}
