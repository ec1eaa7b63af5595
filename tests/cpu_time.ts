/** The processor's time, for what must be quick on a busy machine too. */

import process from "node:process";

/**
 * Seconds of the processor that `work` takes of this thread. Unlike the clock's they are no more
 * where other programs, or other tests beside this one, have the processor meanwhile.
 */
export function cpuSeconds(work: () => void): number {
  const before = process.threadCpuUsage();
  work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1e6;
}
