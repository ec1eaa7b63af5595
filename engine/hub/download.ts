/**
 * Downloads one file of the hub into the cache: resumes, verifies, and adds the file only when it
 * is complete.
 */

import { createHash, type Hash } from "node:crypto";
import { dirname } from "node:path";
import { ModelNotFoundError } from "../errors.ts";
import { type HubCache, isThere } from "./cache.ts";
import { type HubClient, isWebPage, TransientError } from "./client.ts";
import { clearWay } from "../files/plain_file.ts";
import { printable } from "../files/quote.ts";
import { plural } from "../plural.ts";

/** A file in the hub's list. */
export interface RemoteFile {
  readonly name: string;
  readonly url: string;
  readonly size: number;
  /** Hexadecimal SHA-256 of the content, or git's SHA-1 for small files. */
  readonly hash: string;
}

/** Source and destination of a repository's download. */
export interface Route {
  readonly client: HubClient;
  readonly cache: HubCache;
  readonly repository: string;
}

/** Callbacks that report the progress of a download. */
export interface DownloadEvents {
  /**
   * Called with the number of bytes present, which grows; it returns to 0 if the download restarts.
   */
  readonly onBytes: (bytes: number) => void;
  /** Called if another process downloads the same file, before waiting for it. */
  readonly onWait: () => void;
}

/**
 * Downloads `file` as a blob of the cache, unless the cache has it. Waits for other processes that
 * download the same file. The partial file is kept beside the blob under another name, and the next
 * try resumes it.
 *
 * @throws {ModelNotFoundError} if it cannot be downloaded, or does not match its hash.
 */
export async function downloadBlob(
  { client, cache, repository }: Route,
  file: RemoteFile,
  { onBytes, onWait }: DownloadEvents,
): Promise<void> {
  const id = { repository, hash: file.hash };
  using _lock = await cache.lock(id, onWait, (ms) => client.sleep(ms));
  const blob = cache.blob(id);
  if (isThere(blob)) {
    if (await holds(cache, blob, file)) return;
    // The file may be damaged or malicious; only its content can prove that it is the right one.
    await cache.writing(() => Deno.remove(blob));
  }
  const path = `${blob}.incomplete`;
  {
    using partial = await PartialFile.open(cache, path, file);
    onBytes(partial.length);
    let resumed = partial.length > 0;
    for (;;) {
      await client.retry(
        printable(file.name),
        () => fetchRest(client, partial, onBytes),
        () => partial.length,
      );
      if (partial.digest() === file.hash) break;
      await partial.clear();
      // The resumed part may be wrong, so try once more from the start.
      if (!resumed) throw refuse(file, "its content does not match its hash; try again later");
      resumed = false;
    }
    await partial.sync();
  }
  await cache.writing(() => Deno.rename(path, blob));
}

/** Whether `path` is the complete file. */
async function holds(cache: HubCache, path: string, file: RemoteFile): Promise<boolean> {
  const { isFile, size } = await Deno.stat(path);
  if (!isFile || size !== file.size) return false;
  using found = await PartialFile.read(cache, await Deno.open(path), file);
  return found.digest() === file.hash;
}

async function fetchRest(
  client: HubClient,
  partial: PartialFile,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { file } = partial;
  if (partial.length === file.size) return;
  const headers = {
    "accept-encoding": "identity",
    ...(partial.length > 0 && { range: `bytes=${partial.length}-` }),
  };
  const request = { what: printable(file.name), url: file.url, headers };
  await client.request(request, async (response, onActivity) => {
    if (isWebPage(response)) {
      throw refuse(
        file,
        "the server sent a web page instead; log in to the network, or check HF_ENDPOINT",
      );
    }
    await checkRange(response, partial);
    for await (const chunk of response.body ?? []) {
      onActivity();
      if (partial.length + chunk.length > file.size) {
        await partial.clear();
        throw refuse(
          file,
          `the server sent more than ${file.size} ${plural(file.size, "byte")}; try again later`,
        );
      }
      await partial.append(chunk);
      onBytes(partial.length);
    }
    if (partial.length < file.size) {
      throw new TransientError(`the connection ended at byte ${partial.length} of ${file.size}`);
    }
  });
}

/**
 * Checks that the response continues `partial`, or clears `partial` if the response is the whole
 * file.
 *
 * @throws {TransientError} if the response cannot continue `partial`, which is then cleared.
 * @throws {ModelNotFoundError} if the response has the wrong length.
 */
async function checkRange(response: Response, partial: PartialFile) {
  const { file } = partial;
  const { status, headers } = response;
  if (status === 416) {
    await partial.clear();
    throw new TransientError("the hub cannot resume the download", 0);
  }
  if (status === 200) {
    await partial.clear();
    const stated = headers.get("content-length");
    if (stated !== null && Number(stated) !== file.size) {
      throw refuse(
        file,
        `the hub sent ${stated} ${
          plural(Number(stated), "byte")
        }, but its list of files says ${file.size}; try again later`,
      );
    }
    return;
  }
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("content-range") ?? "") ??
    [];
  if (Number(start) === partial.length && Number(total) === file.size) return;
  await partial.clear();
  throw new TransientError("the hub sent a different part than requested");
}

function refuse(file: RemoteFile, why: string): ModelNotFoundError {
  return new ModelNotFoundError(`Cannot download ${printable(file.name)}: ${why}`);
}

/** The part of a file that has arrived, and its hash. */
class PartialFile implements Disposable {
  #length = 0;
  #hash: Hash;
  private constructor(
    private readonly cache: HubCache,
    private readonly handle: Deno.FsFile,
    readonly file: RemoteFile,
  ) {
    this.#hash = newHash(file);
  }

  static async open(cache: HubCache, path: string, file: RemoteFile): Promise<PartialFile> {
    const handle = await cache.writing(async () => {
      await Deno.mkdir(dirname(path), { recursive: true });
      clearWay(path);
      return await Deno.open(path, { read: true, write: true, create: true });
    });
    const partial = await PartialFile.read(cache, handle, file);
    if (partial.#length > file.size) await partial.clear();
    return partial;
  }

  /** Reads and hashes the contents of an open file. */
  static async read(
    cache: HubCache,
    handle: Deno.FsFile,
    file: RemoteFile,
  ): Promise<PartialFile> {
    const partial = new PartialFile(cache, handle, file);
    const buffer = new Uint8Array(2 ** 20);
    for (let count; (count = await handle.read(buffer)) !== null;) {
      partial.#hash.update(buffer.subarray(0, count));
      partial.#length += count;
    }
    return partial;
  }

  get length(): number {
    return this.#length;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.cache.writing(async () => {
      for (let rest = bytes; rest.length > 0;) {
        rest = rest.subarray(await this.handle.write(rest));
      }
    });
    this.#hash.update(bytes);
    this.#length += bytes.length;
  }

  async clear(): Promise<void> {
    await this.cache.writing(() => this.handle.truncate(0));
    await this.handle.seek(0, Deno.SeekMode.Start);
    this.#hash = newHash(this.file);
    this.#length = 0;
  }

  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  sync(): Promise<void> {
    return this.cache.writing(() => this.handle.sync());
  }

  [Symbol.dispose](): void {
    this.handle.close();
  }
}

/** Creates the hash. Git's hash includes the file's length. */
function newHash({ hash, size }: RemoteFile): Hash {
  return hash.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}
