/** Output files of a command. They are opened before its work starts. */

import { basename, dirname, join } from "node:path";
import { printable } from "../engine/files/quote.ts";
import { UsageError } from "./exit_codes.ts";
import type { FileReplacer } from "./file_replacer.ts";
import { InPlaceFile } from "./in_place_file.ts";
import type { Terminal } from "./terminal.ts";
import { writeFailure } from "./write_failure.ts";

/**
 * A file that can be written after write access has been dropped. Write access is dropped before
 * the model is opened, because it may be malicious. The file is replaced as a whole if that is
 * possible.
 */
export class OutputFile implements Disposable {
  readonly #write: (content: Uint8Array) => void;
  readonly #close: () => void;

  private constructor(
    readonly path: string,
    /**
     * Why the file is written in place, where an interruption may leave part of it; undefined if it
     * is replaced as a whole.
     */
    readonly inPlace: string | undefined,
    { write, close = () => {} }: { write: (content: Uint8Array) => void; close?: () => void },
  ) {
    this.#write = write;
    this.#close = close;
  }

  /**
   * Opens a file. Its content does not change until the first `write`.
   *
   * @param option the name of the option with this path
   * @param options `inputs`: paths that the command reads; `replacer`: without one, the file is
   * written in place
   * @throws {UsageError} if the file cannot be written. Also if it is an option, a model or an
   * input: because `--json` has no value in other programs, one of these may follow it by mistake.
   */
  static open(
    option: string,
    path: string,
    { inputs = [], replacer }: {
      readonly inputs?: readonly string[];
      readonly replacer?: FileReplacer | undefined;
    } = {},
  ): OutputFile {
    if (path.startsWith("-")) {
      throw new UsageError(
        `Cannot write ${path}: --${option} needs a file name; for a file named ${path}, write ./${path}`,
      );
    }
    return writing(path, () => {
      const found = statOf(path);
      const role = found?.isFile ? roleOf(path, inputs) : undefined;
      if (role !== undefined) {
        throw new UsageError(`Cannot write ${path}: it is ${role}; --${option} needs another file`);
      }
      let inPlace: string | undefined;
      if (found === undefined || found.isFile) {
        // Replacing a file needs no write permission for it, so check that permission here.
        if (found) Deno.openSync(path, { write: true }).close();
        const place = replacer?.accept(path, found) ??
          { reason: "tvllm was not started with its launcher" };
        if ("path" in place) {
          const write = (content: Uint8Array) => replacer!.replace(place.path, content);
          return new OutputFile(path, undefined, { write });
        }
        inPlace = place.reason;
      }
      const file = new InPlaceFile(path);
      return new OutputFile(path, inPlace, {
        write: (content) => file.write(content),
        close: () => file[Symbol.dispose](),
      });
    });
  }

  /**
   * Replaces the file's content. If this fails, the content stays as it was.
   *
   * @throws {UsageError} if the file cannot be written.
   */
  write(content: string | Uint8Array): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    writing(this.path, () => this.#write(bytes));
  }

  /** Writes pending content and closes the file. */
  [Symbol.dispose](): void {
    writing(this.path, () => this.#close());
  }
}

/**
 * Opens the output files of several options. Call this before the model is opened: write access
 * ends then, and an error here would waste the work.
 *
 * @param paths the path of each file, by the option's name
 * @param options `inputs`: paths that the command reads, which must not be output files. `replacer`
 * is disposed of with the files.
 * @throws {UsageError} as `OutputFile.open` does, or if two options name the same file.
 */
export function openOutputFiles<Name extends string>(
  paths: Readonly<Record<Name, string | undefined>>,
  { inputs = [], replacer, terminal }: {
    readonly inputs?: readonly string[];
    readonly replacer: FileReplacer | undefined;
    readonly terminal: Terminal;
  },
): Record<Name, OutputFile | undefined> & Disposable {
  using opened = new DisposableStack();
  if (replacer) opened.use(replacer);
  const files = {} as Record<Name, OutputFile | undefined>;
  const targets = new Map<string, string>();
  for (const option in paths) {
    const path = paths[option];
    if (path === undefined) continue;
    const target = targetOf(path);
    const other = target && targets.get(target);
    if (other !== undefined) {
      throw new UsageError(
        `Cannot write ${path}: --${other} writes it; --${option} needs another file`,
      );
    }
    const file = opened.use(OutputFile.open(option, path, { inputs, replacer }));
    if (target !== undefined) targets.set(target, option);
    files[option] = file;
    if (file.inPlace === undefined) continue;
    const line = `${printable(path)} is written in place, so kill -9 may leave part of it: ` +
      file.inPlace;
    if (replacer) terminal.note(line);
    else terminal.detail(line);
  }
  replacer?.start();
  const stack = opened.move();
  return { ...files, [Symbol.dispose]: () => stack.dispose() };
}

/** Returns the file's status; undefined if there is no file, or it cannot be examined. */
function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}

/**
 * Returns a key that is equal for two paths of the same file. It is undefined for pipes and
 * devices, because several options may write to the same one.
 */
function targetOf(path: string): string | undefined {
  const found = statOf(path);
  if (found === undefined) {
    try {
      return join(Deno.realPathSync(dirname(path)), basename(path));
    } catch {
      return path;
    }
  }
  if (!found.isFile) return undefined;
  return found.ino === null ? Deno.realPathSync(path) : `${found.dev}:${found.ino}`;
}

/** Names of a model's files that do not contain weights. */
const MODEL_TEXTS =
  /^(config|generation_config|tokenizer|tokenizer_config)\.json$|\.index\.json$|\.jinja$/;

/** Returns what the file is, for an error message, if it must not be overwritten. */
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

/** Whether two paths lead to the same file. Without inode numbers, compares the resolved paths. */
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
    throw new UsageError(`Cannot write ${path}: ${writeFailure(error, path)}`, { cause: error });
  }
}
