/** The results of `tvllm tune`, one line of JSON for each adapter, stored in the model cache. */

import { dirname, join } from "node:path";
import {
  TUNED_FAMILIES,
  type TunedFamily,
  type TuningChoices,
  tuningVariants,
} from "../kernels/tuning_variants.ts";
import { replaceFile } from "./files/plain_file.ts";
import { quote } from "./files/quote.ts";
import { hubCache } from "./hub/settings.ts";

/** An adapter, with the versions for which its measured choices are valid. */
export interface TuneKey {
  /** Graphics API and description. */
  readonly adapter: string;
  readonly driver: string;
  readonly tvllm: string;
}

/** The choices measured for an adapter. */
export interface TuneRecord extends TuneKey {
  /** The day of the measurement, such as 2026-11-29. */
  readonly date: string;
  readonly choices: TuningChoices;
}

/**
 * Maximum size of the file: enough for a hundred adapters. A larger file was not written by tvllm.
 */
const MAX_BYTES = 1 << 16;
const MAX_TEXT = 256;

/** The environment variables that determine the cache directory if TVLLM_CACHE is not set. */
const VARIABLES = ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME", "USERPROFILE"];

/**
 * Returns the path of the file, or undefined if there is no cache directory, or if finding it would
 * need a permission prompt.
 */
export function tuneFilePath(): string | undefined {
  const mayRead = (variable: string) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted";
  if (!mayRead("TVLLM_CACHE")) return undefined;
  if (!Deno.env.get("TVLLM_CACHE") && !VARIABLES.every(mayRead)) return undefined;
  try {
    return join(hubCache().directory, "tune", "adapters.jsonl");
  } catch {
    return undefined;
  }
}

/** The record found for an adapter, or the reason why the file has no usable one. */
export interface FoundRecord {
  readonly record?: TuneRecord;
  readonly fault?: string;
}

/**
 * Looks up an adapter in the file; its last line counts.
 *
 * @param key returns the key of the adapter; called only if there is such a line
 */
export function findRecord(
  path: string,
  { adapter, kind, key }: {
    readonly adapter: string;
    readonly kind: Driver;
    readonly key: () => TuneKey;
  },
): FoundRecord {
  let lines: readonly string[];
  try {
    lines = readLines(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return {};
    return { fault: error instanceof RangeError ? error.message : "it cannot be read" };
  }
  let damaged = false;
  for (const line of lines.toReversed()) {
    const value = parse(line);
    // This may be the start of a line that is still being written, or another program's text.
    if (value === undefined) damaged = true;
    else if (value["adapter"] === adapter) {
      return recordOf(value, key(), kind) ?? { fault: "its line for this adapter is damaged" };
    }
  }
  return damaged ? { fault: "it has damaged lines and none for this adapter" } : {};
}

type Driver = "hardware" | "software";

/**
 * The file, open for appending. Open it before the model, which may be malicious: write permission
 * is dropped when the model is opened.
 */
export class TuneFile implements Disposable {
  readonly #file: Deno.FsFile;

  /** Rewrites the file with the last valid line of each adapter, or creates an empty one. */
  constructor(readonly path: string) {
    Deno.mkdirSync(dirname(path), { recursive: true });
    let sound = "";
    try {
      const latest = new Map<unknown, string>();
      for (const line of readLines(path)) {
        const adapter = parse(line)?.["adapter"];
        if (typeof adapter === "string") latest.set(adapter, line);
      }
      sound = [...latest.values()].map((line) => `${line}\n`).join("");
    } catch {
      // A file that cannot be read is replaced.
    }
    replaceFile(path, new TextEncoder().encode(sound));
    this.#file = Deno.openSync(path, { append: true });
  }

  /** Appends a line in one write, so that readers see either all of it or nothing. */
  add(record: TuneRecord): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(record)}\n`);
    if (this.#file.writeSync(bytes) !== bytes.length) throw new Error("The disk is full");
    this.#file.syncDataSync();
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function readLines(path: string): string[] {
  const { isFile, size } = Deno.statSync(path);
  if (!isFile) throw new RangeError("it is not a regular file");
  if (size > MAX_BYTES) throw new RangeError(`it is larger than ${MAX_BYTES} bytes`);
  const text = new TextDecoder().decode(Deno.readFileSync(path));
  return text.split("\n").filter((line) => line.trim() !== "");
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as Record<string, unknown>
      : undefined;
  } catch {
    return undefined;
  }
}

// Any program may have written the line. So only known names are used from it, and short texts for
// comparison.
function recordOf(
  value: Record<string, unknown>,
  key: TuneKey,
  kind: Driver,
): FoundRecord | undefined {
  const { driver, tvllm, date, choices } = value;
  if (!isText(driver) || !isText(tvllm) || !isText(date)) return undefined;
  if (!/^\d{4}-\d\d-\d\d$/.test(date)) return undefined;
  // Checked before the choices, as another version has other variants.
  if (tvllm !== key.tvllm) {
    return { fault: `it was measured with tvllm ${quote(tvllm)}, but this is ${key.tvllm}` };
  }
  if (driver !== key.driver) {
    return {
      fault: `it was measured with driver ${quote(driver)}, but the current one is ${
        quote(key.driver)
      }`,
    };
  }
  if (typeof choices !== "object" || choices === null) return undefined;
  const variants = tuningVariants(kind);
  const known: Partial<Record<TunedFamily, string>> = {};
  for (const [family, name] of Object.entries(choices)) {
    const own = TUNED_FAMILIES.find((one) => one === family);
    if (own === undefined || typeof name !== "string" || !variants[own].has(name)) return undefined;
    known[own] = name;
  }
  return { record: { ...key, date, choices: known } };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_TEXT;
}
