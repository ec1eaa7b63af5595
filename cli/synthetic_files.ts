/**
 * Writes models with random weights, with progress. A model appears at its path only when complete.
 */

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

/** The paths to which a model is written. */
export interface Target {
  readonly path: string;
  /** The path until the model is complete. */
  readonly unfinished: string;
  /** Advice for the user if the model cannot be written. */
  readonly wayOut: string;
}

/**
 * Writes a GGUF file and returns its size in bytes. An older file at the path is replaced.
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
 * Writes a directory and returns its size in bytes. If there is one at the path, it must be empty.
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
    // A killed process may have left this directory. All its files are written again.
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

/**
 * Rejects a directory at the path before the work starts; otherwise only the renaming would fail.
 */
function refuseDirectory(path: string): void {
  try {
    if (!Deno.statSync(path).isDirectory) return;
  } catch {
    return;
  }
  throw new Error("it is a directory, not a file");
}

/** Rejects a directory that is not empty before the work starts. */
function refuseFull(path: string): void {
  try {
    for (const _ of Deno.readDirSync(path)) {
      throw new UntouchedError("the directory exists and is not empty");
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * An error after which the unfinished model must not be removed: it belongs to another process, or
 * was never begun.
 */
class UntouchedError extends Error {}

/** A file of weights that shows progress while it is written. */
class Output implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #progress: MeteredProgress;
  readonly #total: number;
  bytes = 0;

  constructor(path: string, tensors: readonly Weights[], terminal: Terminal) {
    clearWay(path);
    this.#file = Deno.openSync(path, { write: true, create: true });
    // A file that a killed process left is overwritten. A locked file belongs to a running process.
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
  /** U32: 32-bit words of MLX's quantized weights. */
  readonly type: TensorType | "U32";
  readonly shape: readonly number[];
}

function bytesOf({ type, shape }: Weights): number {
  return packedBytes(type === "U32" ? "F32" : type, shape.reduce((a, b) => a * b, 1));
}

/**
 * Calls `make` to write the unfinished model, and then renames it, so that `path` is never partial.
 */
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
      // It was never created.
    }
    if (cause instanceof RangeError || cause instanceof InterruptedError) throw cause;
    throw new UsageError(`Cannot write ${printable(path)}: ${writeFailure(cause, path, wayOut)}`, {
      cause,
    });
  }
}
