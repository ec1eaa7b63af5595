/** The SHA-256 of a model's files, which identifies it in reports; computed once and cached. */

import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { readAll } from "../engine/files/json.ts";
import type { ModelFile } from "../engine/files/model_file.ts";
import { clearWay } from "../engine/files/plain_file.ts";
import { pausesFor } from "../engine/run/event_loop.ts";
import { MeteredProgress } from "./metered_progress.ts";
import type { Terminal } from "./terminal.ts";

/** Hashes of files by path, with the file's size and modification time when they were computed. */
const knownSchema = z.record(
  z.string(),
  z.object({ size: z.number(), changed: z.number(), sha256: z.string() }),
);

type Known = z.infer<typeof knownSchema>;

/** The terminal that shows progress, and the signal that stops hashing. */
interface Events {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/** Bytes that are read and hashed at once. */
const PIECE = 4 << 20;
/** Size limit of the cache file in bytes: about a hundred thousand models. */
const MAX_BYTES = 16 << 20;

/**
 * The hashes of models' files. Computed hashes are saved in the model cache. Open it before any
 * model, because opening a model drops write access.
 */
export class HashCache implements Disposable {
  readonly #file: Deno.FsFile | undefined;
  readonly #known: Known;
  readonly #events: Events;

  private constructor(events: Events, file?: Deno.FsFile, known: Known = {}) {
    this.#events = events;
    this.#file = file;
    this.#known = known;
  }

  /** Opens the file of hashes. If it cannot be written, hashes are computed each time. */
  static open(events: Events): HashCache {
    const folder = Deno.env.get("TVLLM_CACHE");
    if (!folder) return new HashCache(events);
    const path = join(folder, "tvllm-sha256.json");
    try {
      Deno.mkdirSync(folder, { recursive: true });
      clearWay(path);
      const file = Deno.openSync(path, { read: true, write: true, create: true });
      return new HashCache(events, file, readKnown(path));
    } catch {
      return new HashCache(events);
    }
  }

  [Symbol.dispose](): void {
    this.#file?.close();
  }

  /**
   * Returns the hash of a model's file; for several files, the hash of the list of their hashes.
   */
  async hashOf(
    { paths }: Pick<ModelFile, "paths">,
    builtin: Uint8Array | undefined,
  ): Promise<string> {
    if (builtin !== undefined) return sha256(builtin);
    const hashes: string[] = [];
    for (const path of paths) hashes.push(await this.#ofFile(path));
    return hashes.length === 1 ? hashes[0]! : sha256(new TextEncoder().encode(hashes.join("\n")));
  }

  async #ofFile(path: string): Promise<string> {
    const real = Deno.realPathSync(path);
    // In the hub's cache, a model's files are links to blobs/HASH.
    if (basename(dirname(real)) === "blobs" && /^[0-9a-f]{64}$/.test(basename(real))) {
      return basename(real);
    }
    const { size, mtime } = Deno.statSync(real);
    const changed = mtime?.getTime() ?? 0;
    const before = this.#known[real];
    if (before?.size === size && before.changed === changed) return before.sha256;
    const hash = await this.#compute(real, size);
    this.#known[real] = { size, changed, sha256: hash };
    this.#save();
    return hash;
  }

  async #compute(path: string, total: number): Promise<string> {
    const work = { label: "Hashing the model", total, unit: "byte" } as const;
    const { terminal, signal } = this.#events;
    using progress = new MeteredProgress(work, terminal);
    const hash = createHash("sha256");
    const pause = pausesFor(signal);
    let done = 0;
    for (const piece of pieces(path)) {
      hash.update(piece);
      await pause();
      progress.update(done += piece.length);
    }
    return hash.digest("hex");
  }

  #save(): void {
    if (this.#file === undefined) return;
    const bytes = new TextEncoder().encode(JSON.stringify(this.#known));
    this.#file.truncateSync(0);
    this.#file.seekSync(0, Deno.SeekMode.Start);
    this.#file.writeSync(bytes);
  }
}

function readKnown(path: string): Known {
  try {
    const { bytes } = readAll(path, MAX_BYTES);
    return knownSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return {};
  }
}

function* pieces(path: string): Generator<Uint8Array> {
  using file = Deno.openSync(path, { read: true });
  const piece = new Uint8Array(PIECE);
  for (let count; (count = file.readSync(piece)) !== null;) yield piece.subarray(0, count);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
