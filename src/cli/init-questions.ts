// Questions on a terminal, on stderr, so that stdout holds results alone. A secret is read without being shown.

import { createInterface } from 'node:readline/promises';
import { type Readable, Writable } from 'node:stream';

/** Somebody who can be asked. */
export interface Ask {
  /** The answer, or `fallback` for an empty one; null when the person stopped (Ctrl-C, the end of input). */
  text(question: string, fallback: string): Promise<string | null>;
  secret(question: string): Promise<string | null>;
  say(words: string): void;
  close(): void;
}

/** Null where stdin is no terminal. */
export function askOnTerminal({ stdin, stderr }: { stdin: Readable & { isTTY?: boolean }; stderr: Writable } = process): Ask | null {
  if (stdin.isTTY !== true) return null;
  let isMuted = false;
  const output = new Writable({
    write(chunk, _encoding, done) {
      if (!isMuted) stderr.write(chunk as Buffer);
      done();
    },
  });
  const lines = createInterface({ input: stdin, output, terminal: true });
  const ended = new Promise<null>((resolve) => lines.once('close', () => resolve(null)));
  // Some versions of Node reject a question that is broken off, others leave it open.
  const answerTo = (question: string) => Promise.race([lines.question(question).catch(() => null), ended]);
  return {
    async text(question, fallback) {
      const answer = await answerTo(`${question}${fallback === '' ? '' : ` [${fallback}]`}: `);
      if (answer === null) stderr.write('\n');
      return answer === null ? null : answer.trim() || fallback;
    },
    async secret(question) {
      stderr.write(`${question}: `);
      isMuted = true;
      const answer = await answerTo('');
      isMuted = false;
      stderr.write('\n');
      return answer?.trim() ?? null;
    },
    say: (words) => stderr.write(`${words}\n`),
    close: () => lines.close(),
  };
}
