/** Sizes, rates and the time left, as people read them. */

/** Bytes in the decimal units that disks and networks are sold in. */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  const value = bytes / 1000 ** unit;
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${units[unit]}`;
}

/** Seconds as 42 s, 3 min 05 s or 1 h 20 min. */
export function duration(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
}

/** The rate of the last seconds; times in ms. */
export class TransferRate {
  readonly #samples: { time: number; bytes: number }[] = [];

  /** Bytes per second over the last `span` ms, or undefined while there is nothing to say. */
  add(bytes: number, time: number, span = 5000): number | undefined {
    // What starts afresh, and what was there before, is no transfer.
    if (bytes < (this.#samples.at(-1)?.bytes ?? 0)) this.#samples.length = 0;
    const last = this.#samples.at(-1);
    if (last === undefined || time - last.time >= 100) this.#samples.push({ time, bytes });
    while (this.#samples.length > 2 && time - this.#samples[1]!.time > span) this.#samples.shift();
    const first = this.#samples[0]!;
    return time - first.time < 100 ? undefined : 1000 * (bytes - first.bytes) / (time - first.time);
  }
}

/** `412 MB of 1.10 GB, 35.0 MB/s, 20 s left`. */
export function transferLine(bytes: number, total: number, rate: number | undefined): string {
  const amount = `${size(bytes)} of ${size(total)}`;
  if (!rate) return amount;
  return `${amount}, ${size(rate)}/s, ${duration((total - bytes) / rate)} left`;
}
