// Gathers log lines for a moment and writes them asynchronously, one write at a time, to a sink (sinks.ts).
// It never throws into its caller, blocks it, or grows without bound: what cannot be written is dropped and counted.

/** Something that takes a batch of text. `done` is called once; `rest` is what was not written, when it failed. */
export interface Sink {
  write(batch: string | Buffer, done: (error: NodeJS.ErrnoException | null, rest?: Buffer) => void): void;
  /** Last resort while the process exits: writes what it can at once. */
  writeSync(text: string): void;
  close(): void;
}

/** Takes finished lines. Whoever creates it closes it. */
export interface Destination {
  write(line: string): void;
  /** Resolves when all lines taken so far are written or given up, or after `FLUSH_DEADLINE_MS`. Never rejects. */
  flush(): Promise<void>;
  /** Flushes, then releases the sink. Later lines are dropped. */
  close(): Promise<void>;
  /** Lines that were not and will not be written. */
  dropped(): number;
  /** Whether the sink will never work again, though nobody has closed it. */
  readonly isLost: boolean;
}

/** Lines wait this long for company: a write per line would cost more than the line. */
const GATHER_MS = 20;
/** And at most this much is gathered (UTF-16 units). */
const GATHER_LENGTH = 16 * 1024;
/** While the sink stalls, this much is kept. */
const MAX_PENDING_LENGTH = 4 * 1024 * 1024;
const FLUSH_DEADLINE_MS = 1000;
const BUSY_RETRY_MS = 100;
const FAULT_RETRY_MS = 1000;

/** Errors after which the sink will never work again. */
const FATAL = new Set(['EPIPE', 'EBADF', 'ECONNRESET', 'ENOTCONN', 'ENXIO', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END']);

/** What open destinations still have to say when the process exits without closing them: one listener for all, whatever their number. */
const atExit = new Set<() => void>();
process.on('exit', () => {
  for (const last of atExit) last();
});

/** A destination over a sink. `isImmediate` writes each line at once, for a person who watches. */
export function createDestination(sink: Sink, options: { isImmediate?: boolean; maxPendingLength?: number } = {}): Destination {
  const { isImmediate = false, maxPendingLength = MAX_PENDING_LENGTH } = options;
  let pending = '';
  let pendingLines = 0;
  let flight: string | Buffer | null = null;
  let flightLines = 0;
  let dropped = 0;
  let state: 'open' | 'closing' | 'closed' = 'open';
  let isReleased = false;
  let timer: NodeJS.Timeout | null = null;
  let waiters: (() => void)[] = [];

  const arm = (delayMs: number) => {
    timer = setTimeout(send, delayMs);
    timer.unref();
  };
  const settle = () => {
    for (const waiter of waiters) waiter();
    waiters = [];
  };
  const giveUp = () => {
    dropped += pendingLines + flightLines;
    pending = '';
    flight = null;
    pendingLines = flightLines = 0;
    state = 'closed';
    settle();
  };

  function send(): void {
    if (timer) clearTimeout(timer);
    timer = null;
    if (flight === null) {
      if (pending === '') return;
      flight = pending;
      flightLines = pendingLines;
      pending = '';
      pendingLines = 0;
    }
    sink.write(flight, onWritten);
  }

  function onWritten(error: NodeJS.ErrnoException | null, rest?: Buffer): void {
    if (state === 'closed') return;
    if (error === null) {
      flight = null;
      flightLines = 0;
      if (pending === '') settle();
      else if (waiters.length > 0 || pending.length >= GATHER_LENGTH) send();
      else if (timer === null) arm(GATHER_MS);
    } else if (FATAL.has(error.code ?? '')) {
      giveUp();
    } else {
      flight = rest ?? flight;
      const isBusy = error.code === 'EAGAIN' || error.code === 'EBUSY';
      // A full disk may have room again later; whoever waits for a flush is not kept waiting for it.
      if (!isBusy) settle();
      arm(isBusy ? BUSY_RETRY_MS : FAULT_RETRY_MS);
    }
  }

  const flush = () =>
    new Promise<void>((resolve) => {
      if (state === 'closed' || (flight === null && pending === '')) return resolve();
      const deadline = setTimeout(resolve, FLUSH_DEADLINE_MS);
      waiters.push(() => {
        clearTimeout(deadline);
        resolve();
      });
      const isWriting = flight !== null && timer === null;
      if (!isWriting) send();
    });

  const onExit = () => {
    if (flight === null && pending !== '' && state === 'open') sink.writeSync(pending);
  };
  atExit.add(onExit);

  return {
    write(line) {
      if (state !== 'open' || pending.length + line.length > maxPendingLength) {
        dropped++;
        return;
      }
      pending += line;
      pendingLines++;
      if (flight !== null) return;
      if (isImmediate || pending.length >= GATHER_LENGTH) send();
      else if (timer === null) arm(GATHER_MS);
    },
    flush,
    async close() {
      if (isReleased) return;
      isReleased = true;
      atExit.delete(onExit);
      if (state === 'open') {
        state = 'closing';
        await flush();
      }
      if (timer) clearTimeout(timer);
      giveUp();
      sink.close();
    },
    dropped: () => dropped,
    get isLost() {
      return state === 'closed' && !isReleased;
    },
  };
}
