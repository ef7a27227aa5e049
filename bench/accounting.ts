// What a process under test tells about itself: its port once, then its CPU time and memory whenever asked.

/** CPU time in µs since the process began, memory in bytes. */
export interface Accounting {
  readonly cpuUs: number;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
}

/** Reports the port and answers every later message with the accounting so far. */
export function answerAccounting(port: number): void {
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    const accounting: Accounting = {
      cpuUs: user + system,
      rssBytes: process.memoryUsage.rss(),
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
    };
    process.send?.(accounting);
  });
  process.send?.({ port });
}
