// Runs FindProxyForURL of one PAC script in a QuickJS sandbox: no network but DNS, bounded steps and memory. Fetches and caches nothing.

import { createSocket } from 'node:dgram';

export interface PacEvaluator {
  /** The script's answer, as text. Rejects with an Error that says what the script did (threw, ran too long). */
  evaluate(url: string, host: string): Promise<string>;
  /** Lets the sandbox go; evaluations under way end by their caller's deadline. */
  close(): void;
}

/** Interrupts a script may use up in one evaluation, some 10,000 steps each: about a quarter of a second of spinning. */
const STEPS_OF_10_000 = 10_000;
const MEMORY_LIMIT_BYTES = 64 * 1024 * 1024;
const MOST_LOOKUPS = 100;

/** Compiles `script`; rejects when it has a syntax error, throws or spins at the top, or defines no FindProxyForURL. */
export async function createPacEvaluator(script: string): Promise<PacEvaluator> {
  const [{ QuickJS }, { createPacResolver, sandbox }] = await Promise.all([import('quickjs-wasi'), import('pac-resolver')]);
  let steps = 0;
  let lookups = 0;
  let isClosed = false;
  const vm = await QuickJS.create({ memoryLimit: MEMORY_LIMIT_BYTES, interruptHandler: () => isClosed || ++steps > STEPS_OF_10_000 });
  const running = new Set<(error: Error) => void>();
  const bounded =
    <A extends unknown[], R>(lookup: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (!isClosed && ++lookups <= MOST_LOOKUPS) return lookup(...args);
      for (const stop of running) stop(new Error('it asks DNS without end and was stopped: it may loop'));
      // No further answer, so that a loop over lookups stands still and is collected.
      return new Promise<never>(() => {});
    };
  let findProxy: ReturnType<typeof createPacResolver>;
  try {
    findProxy = createPacResolver(vm, script, {
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
    throw new Error(describeFailure(error, steps));
  }
  return {
    evaluate(url, host) {
      steps = 0;
      lookups = 0;
      return new Promise((resolve, reject) => {
        running.add(reject);
        findProxy(url, host)
          .then(
            (answer) => resolve(String(answer ?? '')),
            (error) => reject(new Error(describeFailure(error, steps))),
          )
          .finally(() => running.delete(reject));
      });
    },
    close() {
      isClosed = true;
    },
  };
}

function describeFailure(error: unknown, steps: number): string {
  if (steps > STEPS_OF_10_000) return 'it runs too long and was stopped: it may loop';
  const message = error instanceof Error ? error.message : String(error);
  return `it throws: ${message.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)}`;
}

/** The address this machine would send from. Sends nothing; the library's own connects to a public DNS server and waits for it. */
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
