/** The SHA-256 of a model's files, which a report names it by; computed once. */

import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { readAll } from "../engine/files/json.ts";
import type { ModelFile } from "../engine/files/model_file.ts";
import { clearWay } from "../engine/files/plain_file.ts";
import { pausesFor } from "../engine/run/event_loop.ts";
import { MeteredProgress } from "./metered_progress.ts";
import type { Terminal } from "./terminal.ts";

/** Hashes of files by path, with the size and time of change that they were computed at. */
const knownSchema = z.record(
  z.string(),
  z.object({ size: z.number(), changed: z.number(), sha256: z.string() }),
);

type Known = z.infer<typeof knownSchema>;

/** Where progress is shown, and what ends the hashing of a file. */
interface Events {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

const PIECE = 4 << 20;
/** A hundred thousand models. */
const MAX_BYTES = 16 << 20;

/**
 * The hashes of models' files; those that were computed are kept in the cache of models. It is opened
 * before the models are, as write access is dropped then.
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

  /** Without a cache, or one that cannot be written, hashes are computed each time. */
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

  /** The hash of a model's file; of several files, that of the list of their hashes. */
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
    // The hub's cache links a model's files to blobs/HASH.
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
