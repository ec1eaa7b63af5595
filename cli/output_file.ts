/** Files that a command writes when it is done, opened before it starts. */

import { UsageError } from "./exit_codes.ts";

/**
 * An open file, which can be written after write access has been dropped: that happens before the model
 * is opened, which may be malicious.
 */
export class OutputFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #kind: "new" | "regular" | "pipe";
  #written = false;
  #last: Uint8Array | undefined;

  private constructor(
    readonly path: string,
    file: Deno.FsFile,
    kind: "new" | "regular" | "pipe",
  ) {
    this.#file = file;
    this.#kind = kind;
  }

  /**
   * Opens a file, which stays as it is until the first `write`.
   *
   * @param option that named it
   * @throws {UsageError} if it cannot be written, or should not: what follows `--json` by mistake, as in
   * other programs it takes no file, is an option or the model.
   */
  static open(option: string, path: string): OutputFile {
    if (path.startsWith("-")) {
      throw new UsageError(
        `Cannot write ${path}: --${option} takes a file; write ./${path} for it`,
      );
    }
    return writing(path, () => {
      try {
        const file = Deno.openSync(path, { write: true, createNew: true });
        return new OutputFile(path, file, "new");
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      }
      const { isFile } = Deno.statSync(path);
      if (isFile && isModel(path)) {
        throw new UsageError(
          `Cannot write ${path}: it is a model; --${option} takes another file`,
        );
      }
      const file = Deno.openSync(path, { write: true });
      return new OutputFile(path, file, isFile ? "regular" : "pipe");
    });
  }

  /**
   * Puts `content` in place of what is in the file.
   *
   * @throws {UsageError} if the disk refuses it.
   */
  write(content: string | Uint8Array): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    this.#written = true;
    if (this.#kind === "pipe") {
      this.#last = bytes; // What is in a pipe cannot be replaced: write the last content, at the end.
      return;
    }
    writing(this.path, () => {
      this.#file.truncateSync(0);
      this.#file.seekSync(0, Deno.SeekMode.Start);
      this.#writeAll(bytes);
    });
  }

  /** Writes what is pending. Removes a new file that stayed empty, while write access lasts. */
  [Symbol.dispose](): void {
    try {
      if (this.#last !== undefined) writing(this.path, () => this.#writeAll(this.#last!));
    } finally {
      this.#file.close();
    }
    if (this.#kind !== "new" || this.#written) return;
    try {
      Deno.removeSync(this.path);
    } catch {
      // Write access is gone once a model was opened: the empty file stays.
    }
  }

  #writeAll(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }
}

/**
 * Opens the files that options name, which are given by the options' names. To be called before the model is
 * opened, and so before any work that an error here would waste.
 *
 * @throws {UsageError} as `OutputFile.open` does.
 */
export function openOutputFiles<Name extends string>(
  paths: Readonly<Record<Name, string | undefined>>,
): Record<Name, OutputFile | undefined> & Disposable {
  using opened = new DisposableStack();
  const files = {} as Record<Name, OutputFile | undefined>;
  for (const option in paths) {
    const path = paths[option];
    files[option] = path === undefined ? undefined : opened.use(OutputFile.open(option, path));
  }
  const stack = opened.move();
  return { ...files, [Symbol.dispose]: () => stack.dispose() };
}

function isModel(path: string): boolean {
  if (path.endsWith(".safetensors")) return true;
  using file = Deno.openSync(path, { read: true });
  const start = new Uint8Array(4);
  file.readSync(start);
  return new TextDecoder().decode(start) === "GGUF";
}

function writing<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`Cannot write ${path}: ${reason}`, { cause: error });
  }
}
