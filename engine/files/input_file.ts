/** Reads a file, or bytes in its place, at any offset. Its errors are written for users. */

import { ModelFormatError, ModelNotFoundError } from "../errors.ts";
import { isGranted } from "./granted.ts";
import { printable } from "./quote.ts";
import { plural } from "../plural.ts";

/** An open regular file, or bytes in place of one. A read fills its buffer or throws. */
export class InputFile {
  readonly #content: Deno.FsFile | Uint8Array;
  /** The file's modification time when it was opened. */
  readonly #changed: number | undefined;
  #closed = false;

  private constructor(
    content: Deno.FsFile | Uint8Array,
    readonly path: string,
    readonly size: number,
  ) {
    this.#content = content;
    this.#changed = changeTime(content);
  }

  /**
   * Returns a file of `size` bytes whose first bytes are `bytes`, by default all of it. Errors call
   * it `name`.
   */
  static ofBytes(bytes: Uint8Array, name: string, size = bytes.length): InputFile {
    return new InputFile(bytes, name, size);
  }

  /**
   * Opens `path`.
   *
   * @throws {ModelNotFoundError} if there is no such file, or it may not be read.
   * @throws {ModelFormatError} if it is not a regular file but a directory, a pipe or a device.
   */
  static open(path: string): InputFile {
    const refuse = `Cannot open ${printable(path)}`;
    try {
      // Opening a pipe would wait for a writer, so check the kind of file first.
      const found = Deno.statSync(path);
      if (found.isDirectory) {
        throw new ModelFormatError(`${refuse}: it is a directory; pass the model file in it`);
      }
      if (!found.isFile) {
        throw new ModelFormatError(
          `${refuse}: it is a pipe or a device, but a model needs random access; ` +
            `save it to a file first`,
        );
      }
      const file = Deno.openSync(path, { read: true });
      return new InputFile(file, path, file.statSync().size);
    } catch (cause) {
      if (cause instanceof ModelFormatError) throw cause;
      throw new ModelNotFoundError(`${refuse}: ${readFailure(cause, path)}`, { cause });
    }
  }

  /** Returns an error about this file's content: `Cannot read PATH: DETAIL`. */
  fault(detail: string): ModelFormatError {
    return new ModelFormatError(`Cannot read ${printable(this.path)}: ${detail}`);
  }

  /**
   * Fills `into` with the bytes from `offset` on.
   *
   * @throws {ModelFormatError} if the file is too short, or was changed since it was opened: a mix
   * of two models would still generate some answer.
   */
  read(offset: number, into: Uint8Array): void {
    const content = this.#content;
    if (content instanceof Uint8Array) {
      const found = content.subarray(offset, offset + into.length);
      if (found.length < into.length) throw this.#shorter(content.length);
      into.set(found);
      return;
    }
    content.seekSync(offset, Deno.SeekMode.Start);
    for (let filled = 0; filled < into.length;) {
      const count = content.readSync(into.subarray(filled));
      if (count === null) throw this.#shorter(offset + filled);
      filled += count;
    }
    if (changeTime(content) !== this.#changed) {
      throw this.fault("it changed while it was being read; do not modify it until it is loaded");
    }
  }

  #shorter(end: number): ModelFormatError {
    return this.fault(
      `it now ends at byte ${end}, but had ${this.size} ${
        plural(this.size, "byte")
      } when it was opened; do not modify it while it is in use`,
    );
  }

  /** Closes the file. Closing it again does nothing. */
  close(): void {
    if (!this.#closed && !(this.#content instanceof Uint8Array)) this.#content.close();
    this.#closed = true;
  }
}

function changeTime(content: Deno.FsFile | Uint8Array): number | undefined {
  return content instanceof Uint8Array ? undefined : content.statSync().mtime?.getTime();
}

/** @throws {ModelNotFoundError} if the path cannot be checked, for example without permission. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new ModelNotFoundError(`Cannot open ${printable(path)}: ${readFailure(error, path)}`, {
      cause: error,
    });
  }
}

/** Returns the end of an error message: why a file could not be read, and how to fix it. */
export function readFailure(cause: unknown, path: string): string {
  if (cause instanceof Deno.errors.NotFound) return "there is no such file; check the path";
  if (cause instanceof Deno.errors.FilesystemLoop) {
    return "its symbolic links form a loop; pass the path of the file itself";
  }
  if (cause instanceof Deno.errors.NotADirectory) {
    return "a part of the path is a file, not a directory; check the path";
  }
  if (cause instanceof Deno.errors.NotCapable) {
    return isGranted("read", path)
      ? "Deno does not read devices, nor some files in /proc and /sys"
      : "Deno has no permission to read it; add --allow-read for this path";
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return "no permission to read it; change its mode or its owner";
  }
  return printable(cause instanceof Error ? cause.message : String(cause));
}
