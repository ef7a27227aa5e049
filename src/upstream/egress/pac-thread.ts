// The thread in which one PAC script runs, in a QuickJS sandbox: no network but DNS, bounded steps and memory. The
// evaluator starts it, and ends it when a script gets round these bounds. Nothing imports this file.

import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { createPacResolver, sandbox } from 'pac-resolver';
import { QuickJS } from 'quickjs-wasi';
import type { PacReply } from './pac-evaluator.ts';

/**
 * Interrupts a script may use up in one evaluation, some 10,000 steps each: about a quarter of a second of spinning.
 */
const STEPS_OF_10_000 = 10_000;
const MEMORY_LIMIT_BYTES = 64 * 1024 * 1024;
const MOST_LOOKUPS = 100;
const LONGEST_ANSWER = 64 * 1024;

/** A compiled script. Rejects with an Error that says what the script did. */
type FindProxy = (url: string, host: string) => Promise<string>;

const port = parentPort as MessagePort;
const reply = (message: PacReply) => port.postMessage(message);
// The first reply, numbered 0, is whether the script can be used at all.
load(workerData as string).then(
  (findProxy) => {
    port.on('message', ({ id, url, host }: { id: number; url: string; host: string }) => {
      findProxy(url, host).then(
        (answer) => reply({ id, answer }),
        (error: Error) => reply({ id, problem: error.message }),
      );
    });
    reply({ id: 0, answer: '' });
  },
  (error: Error) => reply({ id: 0, problem: error.message }),
);

async function load(script: string): Promise<FindProxy> {
  const wasm = await readFile(fileURLToPath(import.meta.resolve('quickjs-wasi/quickjs.wasm')));
  let steps = 0;
  let lookups = 0;
  const vm = await QuickJS.create({
    wasm,
    memoryLimit: MEMORY_LIMIT_BYTES,
    interruptHandler: () => ++steps > STEPS_OF_10_000,
  });
  const running = new Set<(error: Error) => void>();
  const bounded =
    <A extends unknown[], R>(lookup: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (++lookups <= MOST_LOOKUPS) return lookup(...args);
      for (const stop of running) stop(new Error('it asks DNS without end and was stopped: it may loop'));
      // No further answer, so that a loop over lookups stands still and is collected.
      return new Promise<never>(() => {});
    };
  const failure = (error: unknown) =>
    new Error(steps > STEPS_OF_10_000 ? 'it runs too long and was stopped: it may loop' : `it throws: ${said(error)}`);
  let resolver: ReturnType<typeof createPacResolver>;
  try {
    resolver = createPacResolver(vm, script, {
      sandbox: {
        // The library's own prints to stdout.
        alert() {},
        dnsResolve: bounded(sandbox.dnsResolve),
        isResolvable: bounded(sandbox.isResolvable),
        isInNet: bounded(sandbox.isInNet),
        myIpAddress: bounded(ownAddress),
      },
    });
  } catch (error) {
    throw failure(error);
  }
  const find = async (url: string, host: string): Promise<unknown> => {
    try {
      return await resolver(url, host);
    } catch (error) {
      throw failure(error);
    }
  };
  return (url, host) => {
    steps = 0;
    lookups = 0;
    return new Promise<string>((resolve, reject) => {
      running.add(reject);
      find(url, host)
        .then(answerText)
        .then(resolve, reject)
        .finally(() => running.delete(reject));
    });
  };
}

/**
 * Text is all that counts; no answer at all means direct, as in browsers. A value of the script's is not turned into
 * text: that would run it.
 */
function answerText(answer: unknown): string {
  if (answer === undefined || answer === null) return '';
  if (typeof answer !== 'string') throw new Error(`its answer is no text (${typeof answer})`);
  if (answer.length > LONGEST_ANSWER) throw new Error(`its answer is longer than ${LONGEST_ANSWER / 1024} KiB`);
  return answer;
}

/** What was thrown, on one line. A script may throw anything. */
function said(error: unknown): string {
  const message = error instanceof Error ? error.message : error;
  return typeof message === 'string'
    ? message.slice(0, 200).replace(/[^\x20-\x7e]+/g, ' ')
    : 'something that is no error';
}

/**
 * The address this machine would send from. Sends nothing; the library's own connects to a public DNS server and waits
 * for it.
 */
function ownAddress(): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const answer = (address: string) => {
      socket.close();
      resolve(address);
    };
    socket.once('error', () => answer('127.0.0.1'));
    // A documentation address (RFC 5737): connecting a UDP socket only looks up the route.
    socket.connect(9, '192.0.2.1', () => answer(socket.address().address));
  });
}
