// What a process under test tells about itself: its port once, then its CPU time and memory whenever asked.

/** CPU time in µs since the process began, memory in bytes. */
export interface Accounting {
  readonly cpuUs: number;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
}

/** Asks for the accounting; `collected`: once garbage is collected, which costs CPU time and is not to be measured. */
export type AccountingQuestion = 'account' | 'collected';

/** Reports the port, and what else there is to know, and answers every later message with the accounting so far. */
export function answerAccounting(port: number, more: Readonly<Record<string, string>> = {}): void {
  process.on('message', (question: AccountingQuestion) => {
    if (question === 'collected') (globalThis as { gc?: () => void }).gc?.();
    const { user, system } = process.cpuUsage();
    const { heapUsed: heapBytes, external: externalBytes } = process.memoryUsage();
    const accounting: Accounting = {
      cpuUs: user + system,
      rssBytes: process.memoryUsage.rss(),
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
      heapBytes,
      externalBytes,
    };
    process.send?.(accounting);
  });
  process.send?.({ port, ...more });
}
