/** Chats for `/save` and `/load`: one file of JSON lines, with one chat per line. */

import { join } from "node:path";
import { z } from "zod";
import { printable, quote } from "../engine/files/quote.ts";
import { userDirectory, variable } from "../engine/hub/settings.ts";
import type { Turn } from "./conversation.ts";
import { UsageError } from "./exit_codes.ts";
import { nearest } from "./suggestion.ts";
import { writeFailure } from "./write_failure.ts";

/** Size limit of all chats together, in bytes: more text than a person writes. */
const MAX_TEXT = 32 * 2 ** 20;
/** Size limit of the file, in bytes. While it is written, it contains the text twice. */
const MAX_FILE = 2 * MAX_TEXT + 1;
const MAX_NAME = 100;

const schema = z.object({
  name: z.string(),
  /** Date and time in ISO 8601. */
  saved: z.string(),
  model: z.string(),
  system: z.string().optional(),
  turns: z.array(z.object({ prompt: z.string(), answer: z.string() })).min(1),
});

/** A saved chat. */
export interface SavedChat {
  readonly name: string;
  /** Date and time in ISO 8601. */
  readonly saved: string;
  /** The name of the model that answered. */
  readonly model: string;
  readonly system?: string | undefined;
  readonly turns: readonly Turn[];
}

/**
 * Returns the directory of saved chats: TVLLM_DATA, which the launchers set, or a directory in the
 * usual place for a user's data; undefined if there is no home directory.
 */
export function dataDirectory(): string | undefined {
  const own = variable("TVLLM_DATA");
  if (own !== undefined) return own;
  const data = userDirectory("XDG_DATA_HOME", ".local/share");
  return data && join(data, "tvllm");
}

/**
 * The file of all saved chats. Open it before the model: because a model may be malicious, write
 * access is dropped then, and only open files can still be written.
 */
export class SavedChats implements Disposable {
  readonly #file: Deno.FsFile | Error;

  private constructor(readonly path: string, file: Deno.FsFile | Error) {
    this.#file = file;
  }

  /** Opens the file in `directory`. An error is not thrown here, but when the file is used. */
  static open(directory: string | undefined): SavedChats {
    if (directory === undefined) {
      return new SavedChats(
        "",
        new UsageError(
          "Cannot save chats: there is no home directory; set TVLLM_DATA to a directory",
        ),
      );
    }
    const path = join(directory, "chats.jsonl");
    // Without this check, Deno could prompt for the permission on the terminal.
    if (Deno.permissions.querySync({ name: "write", path: directory }).state !== "granted") {
      const message =
        `Cannot save chats in ${printable(path)}: tvllm has no permission to write there; ` +
        `start it with --allow-write=${printable(directory)}`;
      return new SavedChats(path, new UsageError(message));
    }
    try {
      Deno.mkdirSync(directory, { recursive: true });
      const options = { read: true, write: true, create: true, mode: 0o600 };
      const file = Deno.openSync(path, options);
      if (file.statSync().isFile) return new SavedChats(path, file);
      file.close();
      // Reading from a pipe would block.
      throw new Error("it is not a file");
    } catch (cause) {
      const reason = writeFailure(cause, path, "set TVLLM_DATA to another directory");
      const message = `Cannot save chats in ${printable(path)}: ${reason}`;
      return new SavedChats(path, new UsageError(message, { cause }));
    }
  }

  [Symbol.dispose](): void {
    if (!(this.#file instanceof Error)) this.#file.close();
  }

  /** Returns all chats, the latest first. */
  list(): readonly SavedChat[] {
    return this.#locked((file) => [...this.#read(file).values()].reverse());
  }

  /**
   * Saves a chat. An earlier one of the same name is replaced.
   *
   * @returns whether there was an earlier one
   * @throws {UsageError} if the name is invalid, or the file cannot be written.
   */
  save(chat: SavedChat): boolean {
    const { name } = chat;
    if (name.length > MAX_NAME || !/^[^\s/\\](?:[^/\\\p{Cc}]*)$/u.test(name)) {
      throw new UsageError(
        `Cannot save as ${
          quote(name)
        }: expected a name of at most ${MAX_NAME} characters without ` +
          `slashes (while a model is open, tvllm writes no file but ${printable(this.path)})`,
      );
    }
    return this.#locked((file) => {
      const chats = this.#read(file);
      const replaced = chats.delete(name);
      this.#write(file, [...chats.values(), chat]);
      return replaced;
    });
  }

  /**
   * Returns the chat with this name.
   *
   * @throws {UsageError} if there is none.
   */
  load(name: string): SavedChat {
    const chats = this.#locked((file) => this.#read(file));
    const chat = chats.get(name);
    if (chat !== undefined) return chat;
    const near = nearest(name, [...chats.keys()]);
    const way = near !== undefined
      ? `did you mean ${near}?`
      : chats.size === 0
      ? "nothing is saved yet"
      : "/load alone lists what is saved";
    throw new UsageError(`Cannot load ${quote(name)}: ${way}`);
  }

  /** Calls `use` while the file is locked, because other processes may use it, too. */
  #locked<T>(use: (file: Deno.FsFile) => T): T {
    const file = this.#file;
    if (file instanceof Error) throw file;
    file.lockSync(true);
    try {
      return use(file);
    } finally {
      file.unlockSync();
    }
  }

  /**
   * Reads all chats. Skips invalid lines, such as part of a line after a crash. Of several lines
   * with the same name, the last one applies.
   */
  #read(file: Deno.FsFile): Map<string, SavedChat> {
    const { isFile, size } = file.statSync();
    if (!isFile || size > MAX_FILE) {
      throw new UsageError(
        `Cannot read the saved chats in ${printable(this.path)}: it is ` +
          (isFile ? `larger than ${MAX_FILE} bytes` : "not a regular file") + "; move it away",
      );
    }
    const bytes = new Uint8Array(size);
    file.seekSync(0, Deno.SeekMode.Start);
    let length = 0;
    for (let count; (count = file.readSync(bytes.subarray(length))); length += count);
    const chats = new Map<string, SavedChat>();
    for (const line of new TextDecoder().decode(bytes.subarray(0, length)).split("\n")) {
      const chat = parse(line);
      if (chat === undefined) continue;
      chats.delete(chat.name);
      chats.set(chat.name, chat);
    }
    return chats;
  }

  /**
   * Writes all chats. Appends them before it overwrites the old content, so that a full disk or a
   * crash loses nothing: the last line with a name applies.
   */
  #write(file: Deno.FsFile, chats: readonly SavedChat[]): void {
    const text = chats.map((chat) => `${JSON.stringify(chat)}\n`).join("");
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > MAX_TEXT) {
      throw new UsageError(
        `Cannot save more than ${MAX_TEXT} bytes of chats: move ${printable(this.path)} away`,
      );
    }
    const end = file.seekSync(0, Deno.SeekMode.End);
    try {
      writeAll(file, new TextEncoder().encode(`\n${text}`));
      file.syncDataSync();
    } catch (cause) {
      file.truncateSync(end);
      throw new UsageError(
        `Cannot write ${printable(this.path)}: ${writeFailure(cause, this.path)}`,
        { cause },
      );
    }
    file.seekSync(0, Deno.SeekMode.Start);
    writeAll(file, bytes);
    file.truncateSync(bytes.length);
  }
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

function parse(line: string): SavedChat | undefined {
  if (line.trim() === "") return undefined;
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
