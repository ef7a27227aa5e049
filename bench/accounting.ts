// What a process under test tells about itself: its port once, then its CPU time and memory whenever asked.

/** CPU time in µs since the process began, memory in bytes. */
export interface Accounting {
  readonly cpuUs: number;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
  /** What is alive, where the process may collect garbage first. */
  readonly heapBytes: number;
  readonly externalBytes: number;
}

/** Reports the port, and what else there is to know, and answers every later message with the accounting so far. */
export function answerAccounting(port: number, more: Readonly<Record<string, string>> = {}): void {
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    (globalThis as { gc?: () => void }).gc?.();
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
