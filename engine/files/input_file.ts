/** A file opened for reading at any offset, with the errors that its user should see. */

import { ModelFormatError, ModelNotFoundError } from "../errors.ts";
import { printable } from "./quote.ts";

/** An open regular file. Reads fill their buffer or throw. */
export class InputFile {
  readonly #file: Deno.FsFile;

  private constructor(file: Deno.FsFile, readonly path: string, readonly size: number) {
    this.#file = file;
  }

  /**
   * Opens `path`.
   *
   * @throws {ModelNotFoundError} if there is no such file, or it may not be read.
   * @throws {ModelFormatError} if it is a directory, a pipe or another thing that is not a file.
   */
  static open(path: string): InputFile {
    const refuse = `Cannot open ${printable(path)}`;
    try {
      // Opening a pipe would wait for a writer, so look at what it is first.
      const found = Deno.statSync(path);
      if (found.isDirectory) {
        throw new ModelFormatError(`${refuse}: it is a directory; name the model file in it`);
      }
      if (!found.isFile) {
        throw new ModelFormatError(
          `${refuse}: it is a pipe or a device, and a model is read at random offsets; ` +
            `save it to a file first`,
        );
      }
      const file = Deno.openSync(path, { read: true });
      return new InputFile(file, path, file.statSync().size);
    } catch (cause) {
      if (cause instanceof ModelFormatError) throw cause;
      throw new ModelNotFoundError(`${refuse}: ${reason(cause)}`, { cause });
    }
  }

  /** An error about this file's content: `Cannot read PATH: DETAIL`. */
  fault(detail: string): ModelFormatError {
    return new ModelFormatError(`Cannot read ${printable(this.path)}: ${detail}`);
  }

  /**
   * Fills `into` with the bytes from `offset` on.
   *
   * @throws {ModelFormatError} if the file ends before that.
   */
  read(offset: number, into: Uint8Array): void {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let filled = 0; filled < into.length;) {
      const count = this.#file.readSync(into.subarray(filled));
      if (count === null) {
        throw this.fault(
          `it ends at byte ${
            offset + filled
          } and was ${this.size} bytes long when it was opened; ` +
            `leave the file alone while it is in use`,
        );
      }
      filled += count;
    }
  }

  close(): void {
    this.#file.close();
  }
}

/** @throws {ModelNotFoundError} if that cannot be found out. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new ModelNotFoundError(`Cannot open ${printable(path)}: ${reason(error)}`, {
      cause: error,
    });
  }
}

function reason(cause: unknown): string {
  if (cause instanceof Deno.errors.NotFound) return "there is no such file; check the path";
  if (cause instanceof Deno.errors.NotADirectory) {
    return "a part of the path is a file, not a directory; check the path";
  }
  if (cause instanceof Deno.errors.NotCapable) {
    return "Deno was not given the permission to read it; add --allow-read for this path";
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return "no permission to read it; change its mode or its owner";
  }
  return printable(cause instanceof Error ? cause.message : String(cause));
}
