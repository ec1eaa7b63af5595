/** A file that is opened before write access is dropped, and is written in place later. */

export class InPlaceFile implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #kind: "new" | "regular" | "pipe";
  #written = false;
  #last: Uint8Array | undefined;

  /** Opens a file. Its content does not change until the first `write`. */
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

  /** Replaces the file's content. If the disk is full, the content stays as it was. */
  write(content: Uint8Array): void {
    this.#written = true;
    if (this.#kind === "pipe") {
      this.#last = content; // A pipe's content cannot be replaced: only the last one is written.
      return;
    }
    const end = this.#file.seekSync(0, Deno.SeekMode.End);
    try {
      // Writes behind the old content first, which allocates the space that the new content needs.
      this.#writeAll(content);
    } catch (error) {
      this.#file.truncateSync(end);
      throw error;
    }
    this.#file.seekSync(0, Deno.SeekMode.Start);
    this.#writeAll(content);
    this.#file.truncateSync(content.length);
  }

  /**
   * Writes pending content. Removes a new file that stayed empty, unless write access was dropped.
   */
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
      // Write access was dropped when a model was opened: the empty file stays.
    }
  }

  #writeAll(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }
}
