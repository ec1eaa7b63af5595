/** A file that is opened before write access is dropped, and then written in place. */

export class InPlaceFile implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #kind: "new" | "regular" | "pipe";
  #written = false;
  #last: Uint8Array | undefined;

  /** Opens a file, which stays as it is until the first `write`. */
  constructor(path: string) {
    this.#path = path;
    let file: Deno.FsFile | undefined;
    try {
      file = Deno.openSync(path, { write: true, createNew: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
    this.#kind = file ? "new" : Deno.statSync(path).isFile ? "regular" : "pipe";
    this.#file = file ?? Deno.openSync(path, { write: true });
  }

  /** Puts `content` in place of what is in the file, which stays as it was if the disk has no room. */
  write(content: Uint8Array): void {
    this.#written = true;
    if (this.#kind === "pipe") {
      this.#last = content; // What is in a pipe cannot be replaced: write the last content, at the end.
      return;
    }
    const end = this.#file.seekSync(0, Deno.SeekMode.End);
    try {
      // Behind what is there: it takes the room that the content will need.
      this.#writeAll(content);
    } catch (error) {
      this.#file.truncateSync(end);
      throw error;
    }
    this.#file.seekSync(0, Deno.SeekMode.Start);
    this.#writeAll(content);
    this.#file.truncateSync(content.length);
  }

  /** Writes what is pending. Removes a new file that stayed empty, while write access lasts. */
  [Symbol.dispose](): void {
    try {
      if (this.#last !== undefined) this.#writeAll(this.#last);
    } finally {
      this.#file.close();
    }
    if (this.#kind !== "new" || this.#written) return;
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Write access is gone once a model was opened: the empty file stays.
    }
  }

  #writeAll(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }
}
