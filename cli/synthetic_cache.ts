/** Models with random weights in the cache: `synth:NAME[:QUANT]`. They are created on first use. */

import { dirname, join } from "node:path";
import type { CachedModel } from "../engine/hub/cache.ts";
import { clearWay } from "../engine/files/plain_file.ts";
import { printable, quote } from "../engine/files/quote.ts";
import {
  SYNTHETIC_FORMATS,
  type SyntheticFormat,
  syntheticModel,
  syntheticModelNames,
} from "../engine/synthetic/models.ts";
import { UsageError } from "./exit_codes.ts";
import { hubCache } from "../engine/hub/settings.ts";
import { SYNTHETIC_PREFIX } from "./model_specs.ts";
import { nearest } from "./suggestion.ts";
import { writeGgufFile } from "./synthetic_files.ts";
import type { Terminal } from "./terminal.ts";
import { writeFailure } from "./write_failure.ts";

const SEED = 1;

/**
 * Returns the path of the model that `text` names. Creates it if it is not in the cache.
 *
 * @throws {UsageError} if the name or the format is unknown, or the cache cannot be written.
 */
export async function cachedSynthetic(text: string, terminal: Terminal): Promise<string> {
  const { name, format } = parse(text, "make");
  const path = pathOf(name, format);
  if (isThere(path)) return path;
  using _lock = await lock(
    path,
    () => terminal.note("Waiting for another process to create the model"),
  );
  if (isThere(path)) return path; // The other process created it.
  removeUnfinished(dirname(path));
  terminal.note(`Creating ${SYNTHETIC_PREFIX}${name}:${format} in the cache`);
  const unfinished = `${path}.part`; // Protected by the lock.
  await writeGgufFile(
    syntheticModel(name, format, SEED),
    { path, unfinished, wayOut: WAY_OUT },
    terminal,
  );
  return path;
}

/** Lists these models in the cache. */
export function listSynthetics(): CachedModel[] {
  const models: CachedModel[] = [];
  for (const name of syntheticModelNames()) {
    for (const format of SYNTHETIC_FORMATS) {
      const path = pathOf(name, format);
      if (!isThere(path)) continue;
      const { size, mtime } = Deno.statSync(path);
      const spec = `${SYNTHETIC_PREFIX}${name}:${format}`;
      models.push({
        spec,
        format: "gguf",
        path,
        files: [path],
        bytes: size,
        time: mtime ?? new Date(0),
      });
    }
  }
  return models;
}

/** Removes the model that `text` names; returns the bytes freed, or undefined if there is none. */
export function removeSynthetic(text: string): number | undefined {
  const { name, format } = parse(text, "remove");
  const path = pathOf(name, format);
  if (!isThere(path)) return undefined;
  const { size } = Deno.statSync(path);
  Deno.removeSync(path);
  return size;
}

/**
 * Parses `synth:NAME[:QUANT]`; QUANT defaults to Q4_0.
 *
 * @param verb the requested action, for an error message
 * @throws {UsageError} if the text is invalid, or the name or the format unknown.
 */
function parse(text: string, verb: "make" | "remove"): { name: string; format: SyntheticFormat } {
  const [name = "", quant = "Q4_0", ...rest] = text.slice(SYNTHETIC_PREFIX.length).split(":");
  const names = syntheticModelNames();
  const known = names.includes(name);
  const format = SYNTHETIC_FORMATS.find((known) => known === quant.toUpperCase());
  if (known && format !== undefined && rest.length === 0) return { name, format };
  const near = known ? undefined : nearest(name, names);
  // A list of all names would be too long for an error message.
  const sized = names.filter((name) => !name.startsWith("tiny-"));
  const way = near !== undefined
    ? `did you mean ${SYNTHETIC_PREFIX}${[near, ...text.split(":").slice(2)].join(":")}?`
    : (known
      ? `the known formats are ${SYNTHETIC_FORMATS.join(", ")}`
      : `the known models are ${sized.join(", ")}, and the tiny ones in tvllm synth --help`) +
      `; expected ${SYNTHETIC_PREFIX}NAME[:QUANT], as in ${SYNTHETIC_PREFIX}tinyllama-1.1b:Q4_0`;
  throw new UsageError(`Cannot ${verb} ${quote(text)}: ${way}`);
}

function pathOf(name: string, format: SyntheticFormat): string {
  return join(hubCache().directory, "synth", `${name}-${format}.gguf`);
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Removes unfinished models that killed processes left: those that are not locked. */
function removeUnfinished(directory: string): void {
  for (const { name } of Deno.readDirSync(directory)) {
    if (!name.endsWith(".part")) continue;
    const path = join(directory, name), locked = path.replace(/part$/, "lock");
    try {
      clearWay(locked);
      using file = Deno.openSync(locked, { create: true, write: true });
      if (file.tryLockSync(true)) Deno.removeSync(path, { recursive: true });
    } catch {
      // The file may stay. If it prevents a write later, that fails with an error.
    }
  }
}

const WAY_OUT = "set TVLLM_CACHE to another directory";

/**
 * Locks the creation of the file at `path`. Disposing of the result releases the lock.
 *
 * @throws {UsageError} if the lock file cannot be written.
 */
async function lock(path: string, onWait: () => void): Promise<Disposable> {
  try {
    Deno.mkdirSync(dirname(path), { recursive: true });
    clearWay(`${path}.lock`);
    const file = Deno.openSync(`${path}.lock`, { create: true, write: true });
    if (!file.tryLockSync(true)) {
      onWait();
      await file.lock(true);
    }
    return file;
  } catch (cause) {
    throw new UsageError(`Cannot write ${printable(path)}: ${writeFailure(cause, path, WAY_OUT)}`, {
      cause,
    });
  }
}
