// The CPU time of work in this process, which a busy machine does not make longer, as it does the time that passes.

/** What `work` costs, ms; with what the collector of garbage did meanwhile. */
export function cpuMs(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
