/** Formats numbers for people. */

import { isAboveLimit, type Result, type Unit } from "./report.ts";

type Written = Pick<Result, "value" | "unit" | "interval" | "limit">;

/** A result as text. Its unit is left out if the title of its column contains it. */
export function text(result: Written, title = ""): string {
  const { value, unit, interval } = result;
  const flag = isAboveLimit(result) ? " (above its limit)" : "";
  if (unit === "bytes") return bytes(value) + flag;
  const digits = decimals(result);
  const fixed = (x: number) => digits === 0 ? count(Math.round(x)) : x.toFixed(digits);
  const number = fixed(value);
  const spread = interval === undefined ? "" : ` [${interval.map(fixed).join(", ")}]`;
  return number + spread + suffix(unit, title) + flag;
}

function suffix(unit: Unit, title: string): string {
  if (unit === "%" || unit === "x") return unit;
  const written = unit === "us" ? "µs" : unit;
  const words = title.replace(/Tok(ens)?\/sec|TPS|^t\/s$/, "tok/s").replace(
    "Requests/sec",
    "req/s",
  );
  return unit === "" || words.split(/[ ()]+/).includes(written) ? "" : ` ${written}`;
}

function decimals({ value, unit }: Written): number {
  if (unit === "") return Number.isInteger(value) ? 0 : 1;
  if (unit === "x") return 2;
  const size = Math.abs(value);
  // A measured value is never shown as zero.
  if (unit === "%") return size >= 0.1 || size === 0 ? 1 : -Math.floor(Math.log10(size));
  if (size >= 1000) return 0;
  if (size >= 100) return 1;
  if (size >= 1 || size === 0) return 2;
  return Math.min(8, 2 - Math.floor(Math.log10(size)));
}

/** 3701760 as `3.53 MiB (3,701,760 bytes)`. */
export function bytes(n: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = n / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  const exact = `${count(Math.round(n))} bytes`;
  return n < 1024 ? exact : `${size.toFixed(2)} ${units[unit]} (${exact})`;
}

/** 4761 as `4,761`. */
export function count(n: number): string {
  return n.toLocaleString("en-US");
}

/** 0.07 as `7 %`, without the rounding error of 100 * 0.07. */
export function percent(share: number): string {
  return `${Number((100 * share).toPrecision(12))} %`;
}
