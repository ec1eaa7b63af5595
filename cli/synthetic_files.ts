/** Writes models of random weights, with progress, and never half of one. */

import { join } from "node:path";
import { ggufPieces } from "../engine/files/gguf_writer.ts";
import { clearWay, replaceFile } from "../engine/files/plain_file.ts";
import { printable } from "../engine/files/quote.ts";
import { safetensorsPieces } from "../engine/files/safetensors_writer.ts";
import type { SyntheticDirectory } from "../engine/synthetic/directory.ts";
import type { SyntheticModel } from "../engine/synthetic/models.ts";
import { packedBytes, type TensorType } from "../kernels/tensor_types.ts";
import { EventLoop } from "../engine/run/event_loop.ts";
import { InterruptedError, UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { MeteredProgress } from "./metered_progress.ts";
import type { Terminal } from "./terminal.ts";
import { writeFailure } from "./write_failure.ts";

/** Where a model goes. */
export interface Target {
  readonly path: string;
  /** Where it grows until it is whole. */
  readonly unfinished: string;
  /** What to do if it cannot be written, for the user. */
  readonly wayOut: string;
}

/**
 * Writes a GGUF file, which may take an older one's place, and returns its size in bytes.
 *
 * @throws {UsageError} if it cannot be written.
 * @throws {InterruptedError} after Ctrl-C or SIGTERM, with nothing left behind.
 */
export function writeGgufFile(
  { metadata, tensors }: SyntheticModel,
  target: Target,
  terminal: Terminal,
): Promise<number> {
  return whole(target, async (signal) => {
    refuseDirectory(target.path);
    using output = new Output(target.unfinished, tensors, terminal);
    await output.write(ggufPieces(metadata, tensors), signal);
    return output.bytes;
  });
}

/**
 * Writes a directory, which must not be there yet or be empty, and returns its size in bytes.
 *
 * @throws {UsageError} if it cannot be written.
 * @throws {InterruptedError} after Ctrl-C or SIGTERM, with nothing left behind.
 */
export function writeDirectory(
  { texts, tensors }: SyntheticDirectory,
  target: Target,
  terminal: Terminal,
): Promise<number> {
  return whole(target, async (signal) => {
    refuseFull(target.path);
    // It may be what a killed process left: every file is written again.
    Deno.mkdirSync(target.unfinished, { recursive: true });
    using output = new Output(join(target.unfinished, "model.safetensors"), tensors, terminal);
    let bytes = 0;
    for (const [name, text] of Object.entries(texts)) {
      const file = new TextEncoder().encode(text);
      replaceFile(join(target.unfinished, name), file);
      bytes += file.length;
    }
    await output.write(safetensorsPieces(tensors), signal);
    return bytes + output.bytes;
  });
}

/** Said before the work, as the renaming would say it only after. */
function refuseDirectory(path: string): void {
  try {
    if (!Deno.statSync(path).isDirectory) return;
  } catch {
    return;
  }
  throw new Error("it is a directory, not a file");
}

/** As `refuseDirectory`: before the work. */
function refuseFull(path: string): void {
  try {
    for (const _ of Deno.readDirSync(path)) {
      throw new UntouchedError("the directory exists and is not empty");
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What is unfinished belongs to another process, or was never begun: it is left alone. */
class UntouchedError extends Error {}

/** A file that shows how far it is. */
class Output implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #progress: MeteredProgress;
  readonly #total: number;
  bytes = 0;

  constructor(path: string, tensors: readonly Weights[], terminal: Terminal) {
    clearWay(path);
    this.#file = Deno.openSync(path, { write: true, create: true });
    // What a killed process left is used again, and what another one writes is left alone.
    if (!this.#file.tryLockSync(true)) {
      this.#file.close();
      throw new UntouchedError("another process is writing it");
    }
    this.#file.truncateSync(0);
    this.#total = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    this.#progress = new MeteredProgress(
      { label: "Making the model", total: this.#total, unit: "byte" },
      terminal,
    );
    this.#progress.announce();
  }

  async write(pieces: Iterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const eventLoop = new EventLoop();
    for (const bytes of pieces) {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
      this.bytes += bytes.length;
      this.#progress.update(Math.min(this.#total, this.bytes));
      await eventLoop.yield();
      signal.throwIfAborted();
    }
  }

  [Symbol.dispose](): void {
    this.#progress[Symbol.dispose]();
    this.#file.close();
  }
}

interface Weights {
  /** U32: words of MLX's quants. */
  readonly type: TensorType | "U32";
  readonly shape: readonly number[];
}

function bytesOf({ type, shape }: Weights): number {
  return packedBytes(type === "U32" ? "F32" : type, shape.reduce((a, b) => a * b, 1));
}

/** Makes what is unfinished and renames it: what has the path is always whole. */
async function whole(
  { path, unfinished, wayOut }: Target,
  make: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  using interrupts = new Interrupts();
  try {
    const bytes = await make(interrupts.signal);
    Deno.renameSync(unfinished, path);
    return bytes;
  } catch (cause) {
    try {
      if (!(cause instanceof UntouchedError)) Deno.removeSync(unfinished, { recursive: true });
    } catch {
      // It was never made.
    }
    if (cause instanceof RangeError || cause instanceof InterruptedError) throw cause;
    throw new UsageError(`Cannot write ${printable(path)}: ${writeFailure(cause)}; ${wayOut}`, {
      cause,
    });
  }
}
