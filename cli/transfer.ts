/** Formats sizes, rates and times for people. */

import { plural } from "../engine/plural.ts";

/** Formats bytes in decimal units, such as 1.10 GB. */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  const value = bytes / 1000 ** unit;
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${units[unit]}`;
}

/** Formats seconds as 42 s, 3 min 05 s or 1 h 20 min. */
export function duration(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
}

/** Formats milliseconds as 390 ms, 6.2 s or 6 min 31 s. */
export function milliseconds(ms: number): string {
  if (ms < 1000) return `${ms.toFixed(0)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000);
}

/** The unit in which work is counted. */
export type Unit = "byte" | "token" | "answer";

/** Measures the rate over the last seconds. Times are in ms. */
export class Rate {
  readonly #samples: { time: number; done: number }[] = [];

  /** Returns units per second over the last `span` ms; undefined during the first 100 ms. */
  add(done: number, time: number, span = 5000): number | undefined {
    // If the count falls, the work has restarted: measure from there.
    if (done < (this.#samples.at(-1)?.done ?? 0)) this.#samples.length = 0;
    const last = this.#samples.at(-1);
    if (last === undefined || time - last.time >= 100) this.#samples.push({ time, done });
    while (this.#samples.length > 2 && time - this.#samples[1]!.time > span) this.#samples.shift();
    const first = this.#samples[0]!;
    return time - first.time < 100 ? undefined : 1000 * (done - first.done) / (time - first.time);
  }
}

/** The progress of some work. */
export interface Amount {
  readonly done: number;
  readonly total: number;
  /** Units per second, if known. */
  readonly rate: number | undefined;
}

/**
 * Formats progress, as in `412 MB of 1.10 GB, 35.0 MB/s, 20 s left` or
 * `512 of 3,519 tokens, 9.0 tok/s, 5 min 34 s left`.
 */
export function amountLine({ done, total, rate }: Amount, unit: Unit): string {
  const amount = unit === "byte"
    ? `${size(done)} of ${size(total)}`
    : `${count(done)} of ${counted(total, unit)}`;
  if (!rate) return amount;
  const left = done < total ? [`${duration((total - done) / rate)} left`] : [];
  return [amount, ...perSecond(rate, unit), ...left].join(", ");
}

/** Formats the rate. It is left out for answers, where the time left is more useful. */
function perSecond(rate: number, unit: Unit): string[] {
  if (unit === "byte") return [`${size(rate)}/s`];
  return unit === "token" ? [tokenRate(rate)] : [];
}

/** Formats a rate as `9.0 tok/s` or `5,120 tok/s`. */
export function tokenRate(rate: number): string {
  return `${rate < 1000 ? rate.toFixed(1) : count(Math.round(rate))} tok/s`;
}

/** Formats a number as `3,519`. */
export function count(number: number): string {
  return number.toLocaleString("en-US");
}

/** Formats a number and a noun, as in `1 token` or `3,519 tokens`. */
export function counted(number: number, noun: string): string {
  return `${count(number)} ${plural(number, noun)}`;
}
