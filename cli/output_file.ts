/** Files that a command writes when it is done, opened before it starts. */

import { basename, dirname } from "node:path";
import { UsageError } from "./exit_codes.ts";
import { writeFailure } from "./write_failure.ts";

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
   * @param inputs paths of what the command reads
   * @throws {UsageError} if it cannot be written, or should not: what follows `--json` by mistake, as in
   * other programs it takes no file, is an option or the model.
   */
  static open(option: string, path: string, inputs: readonly string[] = []): OutputFile {
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
      const role = isFile ? roleOf(path, inputs) : undefined;
      if (role !== undefined) {
        throw new UsageError(`Cannot write ${path}: it is ${role}; --${option} takes another file`);
      }
      const file = Deno.openSync(path, { write: true });
      return new OutputFile(path, file, isFile ? "regular" : "pipe");
    });
  }

  /**
   * Puts `content` in place of what is in the file, which stays as it was if the disk has no room. A
   * new file could not be renamed to it: write access is gone by then.
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
      const end = this.#file.seekSync(0, Deno.SeekMode.End);
      try {
        // Behind what is there: it takes the room that the content will need.
        this.#writeAll(bytes);
      } catch (error) {
        this.#file.truncateSync(end);
        throw error;
      }
      this.#file.seekSync(0, Deno.SeekMode.Start);
      this.#writeAll(bytes);
      this.#file.truncateSync(bytes.length);
    });
  }

  /** Whether `path` leads to this file; several may go to one pipe or device. */
  isAt(path: string): boolean {
    return this.#kind !== "pipe" && isSame(this.path, path);
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
 * @param inputs paths of what the command reads, which no file may be; nor may two be the same
 * @throws {UsageError} as `OutputFile.open` does.
 */
export function openOutputFiles<Name extends string>(
  paths: Readonly<Record<Name, string | undefined>>,
  inputs: readonly string[] = [],
): Record<Name, OutputFile | undefined> & Disposable {
  using opened = new DisposableStack();
  const files = {} as Record<Name, OutputFile | undefined>;
  for (const option in paths) {
    const path = paths[option];
    if (path === undefined) continue;
    for (const other in files) {
      if (files[other]?.isAt(path)) {
        throw new UsageError(
          `Cannot write ${path}: --${other} writes it; --${option} takes another file`,
        );
      }
    }
    files[option] = opened.use(OutputFile.open(option, path, inputs));
  }
  const stack = opened.move();
  return { ...files, [Symbol.dispose]: () => stack.dispose() };
}

/** The files of a model that are no weights. */
const MODEL_TEXTS =
  /^(config|generation_config|tokenizer|tokenizer_config)\.json$|\.index\.json$|\.jinja$/;

/** What else the file is than a report, for an error. */
function roleOf(path: string, inputs: readonly string[]): string | undefined {
  if (isModel(path)) return "a model";
  const real = Deno.realPathSync(path);
  const folder = dirname(real);
  if (MODEL_TEXTS.test(basename(real)) && hasWeights(folder)) {
    return `a part of the model in ${folder}`;
  }
  return inputs.some((input) => isSame(path, input)) ? "an input of this command" : undefined;
}

function hasWeights(folder: string): boolean {
  for (const { name } of Deno.readDirSync(folder)) {
    if (/\.(safetensors|gguf)$/.test(name)) return true;
  }
  return false;
}

/** Whether the two paths lead to one file; without inode numbers, whether they are one path. */
function isSame(path: string, other: string): boolean {
  try {
    const [a, b] = [Deno.statSync(path), Deno.statSync(other)];
    return a.ino === null
      ? Deno.realPathSync(path) === Deno.realPathSync(other)
      : a.ino === b.ino && a.dev === b.dev;
  } catch {
    return false;
  }
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
    throw new UsageError(`Cannot write ${path}: ${writeFailure(error)}`, { cause: error });
  }
}
