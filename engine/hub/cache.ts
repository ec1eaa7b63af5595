/**
 * The cache of models, in the layout that Hugging Face's own programs share
 * (https://huggingface.co/docs/hub/local-cache). Snapshots contain hard links to the blobs. Hugging
 * Face's programs create symbolic links instead, for which Deno would need every permission.
 */

import { dirname, join } from "node:path";
import { ModelNotFoundError } from "../errors.ts";
import { DEFAULT_REVISION, formatHubSpec, type HubSpec } from "./spec.ts";
import {
  listQuants,
  matchingModels,
  modelsAmong,
  quantToName,
  type RepositoryModel,
} from "./select.ts";
import { writeRefusal } from "../files/granted.ts";
import { readAll } from "../files/json.ts";
import { clearWay, replaceFile } from "../files/plain_file.ts";
import { printable } from "../files/quote.ts";

/** A model in the cache. */
export interface CachedModel {
  /** A spec that matches only this model in the cache. */
  readonly spec: string;
  readonly format: RepositoryModel["format"];
  /** A GGUF file, or the directory of safetensors. */
  readonly path: string;
  readonly files: readonly string[];
  readonly bytes: number;
  /** When it was downloaded. */
  readonly time: Date;
}

const FOLDER = /^models--([^-].*?)--(.+)$/;
const COMMIT = /^[0-9a-f]{40}$/;
const MAX_REF_BYTES = 1024;
/** Time between tries to get a lock, in ms. */
const LOCK_INTERVAL = 100;

/** Identifies the content of a file. */
export interface BlobId {
  readonly repository: string;
  readonly hash: string;
}

/** A file of a commit. */
export interface SnapshotFile extends BlobId {
  readonly commit: string;
  /** Its path in the repository. */
  readonly name: string;
}

/** The cache in one directory, which may not exist yet. */
export class HubCache {
  constructor(readonly directory: string) {}

  folder(repository: string): string {
    return join(this.directory, `models--${repository.replace("/", "--")}`);
  }

  blob({ repository, hash }: BlobId): string {
    return join(this.folder(repository), "blobs", hash);
  }

  snapshot(repository: string, commit: string): string {
    return join(this.folder(repository), "snapshots", commit);
  }

  /**
   * Acquires the lock of a blob; disposing of the result releases it. While another process has the
   * lock, it retries and calls `sleep` in between, as a blocking wait could not be aborted.
   */
  async lock(
    { repository, hash }: BlobId,
    onWait: () => void,
    sleep: (ms: number) => Promise<void>,
  ): Promise<Disposable> {
    const folder = `models--${repository.replace("/", "--")}`;
    const path = join(this.directory, ".locks", folder, `${hash}.lock`);
    const file = await this.writing(async () => {
      await Deno.mkdir(dirname(path), { recursive: true });
      clearWay(path);
      return await Deno.open(path, { create: true, write: true });
    });
    try {
      if (!await file.tryLock(true)) {
        onWait();
        do await sleep(LOCK_INTERVAL); while (!await file.tryLock(true));
      }
    } catch (error) {
      file.close();
      throw error;
    }
    return file;
  }

  /** Adds a blob to a snapshot, atomically. */
  async link({ repository, hash, commit, name }: SnapshotFile): Promise<void> {
    const target = join(this.snapshot(repository, commit), name);
    const blob = this.blob({ repository, hash });
    await this.writing(async () => {
      await Deno.mkdir(dirname(target), { recursive: true });
      await Deno.remove(target).catch(() => {});
      // Without hard links, the blob is moved, as Hugging Face's programs do on Windows without
      // symbolic links.
      await Deno.link(blob, target).catch(() => Deno.rename(blob, target));
    });
  }

  /** Records the commit of a branch or tag. */
  async writeRef(repository: string, revision: string, commit: string): Promise<void> {
    if (COMMIT.test(revision)) return;
    const path = join(this.folder(repository), "refs", revision);
    if (readRef(path) === commit) return;
    await this.writing(async () => {
      await Deno.mkdir(dirname(path), { recursive: true });
      replaceFile(path, new TextEncoder().encode(commit));
    });
  }

  /**
   * Runs `work`, which writes to the cache, and explains a failure.
   *
   * @throws {ModelNotFoundError} if `work` fails.
   */
  async writing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      const refusal = writeRefusal(cause, this.directory);
      if (refusal !== undefined) {
        throw new ModelNotFoundError(
          `Cannot write to the cache ${printable(this.directory)}: ${refusal}`,
          { cause },
        );
      }
      const message = cause instanceof Error ? cause.message : String(cause);
      const why = /os error (28|27)\b|No space|File too large/.test(message)
        ? "the disk is full; free some space and run it again to resume"
        : /os error 30\b|[Rr]ead-only/.test(message)
        ? "its file system is read-only; make it writable"
        : `${printable(message)}; make it writable`;
      throw new ModelNotFoundError(
        `Cannot write to the cache ${printable(this.directory)}: ${why}, or set ` +
          `TVLLM_CACHE to another directory`,
        { cause },
      );
    }
  }

  /**
   * Returns the complete model that matches `spec`, or undefined.
   *
   * @throws {ModelNotFoundError} if several match.
   */
  find(spec: HubSpec): CachedModel | undefined {
    const { repository, quant, revision } = spec;
    const folder = this.folder(repository);
    const named = readRef(join(folder, "refs", revision ?? DEFAULT_REVISION)) ?? revision;
    const commits = entries(join(folder, "snapshots"));
    // If no revision was requested, other commits than the branch's current one are better than
    // nothing.
    const order = commits.filter((commit) => named !== undefined && commit.startsWith(named));
    if (revision === undefined) order.push(...commits.filter((commit) => !order.includes(commit)));
    for (const commit of order) {
      const models = completeModels(this.snapshot(repository, commit));
      const [model, ...others] = matchingModels(models, quant);
      if (others.length > 0) {
        throw new ModelNotFoundError(
          `Cannot choose a model: ${formatHubSpec(spec)} matches several in the cache; ` +
            `append :QUANT, one of ${listQuants([model!, ...others], models)}`,
        );
      }
      if (model !== undefined) return this.#describe({ repository, commit }, model, models);
    }
    return undefined;
  }

  /** Returns every complete model in the cache. */
  list(): CachedModel[] {
    return entries(this.directory).flatMap((folder) => {
      const [, owner, name] = FOLDER.exec(folder) ?? [];
      if (owner === undefined) return [];
      const repository = `${owner}/${name}`;
      return entries(join(this.directory, folder, "snapshots")).flatMap((commit) => {
        const models = completeModels(this.snapshot(repository, commit));
        return models.map((model) => this.#describe({ repository, commit }, model, models));
      });
    });
  }

  /**
   * Removes the model that matches `spec`, or the whole repository, including unfinished downloads,
   * if `spec` has neither a quantization nor a revision. Returns the bytes freed, or undefined if
   * nothing matches.
   */
  async remove(spec: HubSpec): Promise<number | undefined> {
    const folder = this.folder(spec.repository);
    if (spec.quant === undefined && spec.revision === undefined) {
      const blobs = entries(join(folder, "blobs")).map((name) => join(folder, "blobs", name));
      if (!isThere(folder)) return undefined;
      const bytes = blobs.reduce((sum, path) => sum + (statOf(path)?.size ?? 0), 0);
      // Renamed first, so that nobody finds a partly removed repository. Leftovers of killed
      // processes are removed too.
      await this.writing(async () => {
        await Deno.rename(folder, `${folder}.${crypto.randomUUID()}.removed`);
        for (const name of entries(this.directory)) {
          if (!name.endsWith(".removed")) continue;
          await Deno.remove(join(this.directory, name), { recursive: true });
        }
      });
      return bytes;
    }
    const model = this.find(spec);
    if (model === undefined) return undefined;
    await this.writing(async () => {
      for (const path of model.files) await Deno.remove(path);
    });
    return await this.#removeUnusedBlobs(folder);
  }

  async #removeUnusedBlobs(folder: string): Promise<number> {
    const snapshots = join(folder, "snapshots");
    const used = new Set(
      entries(snapshots).flatMap((commit) => filesUnder(join(snapshots, commit)))
        .map((name) => identityOf(join(snapshots, name))),
    );
    let freed = 0;
    for (const name of entries(join(folder, "blobs"))) {
      const path = join(folder, "blobs", name);
      if (name.includes(".") || used.has(identityOf(path))) continue;
      freed += statOf(path)?.size ?? 0;
      await this.writing(() => Deno.remove(path));
    }
    return freed;
  }

  #describe(
    { repository, commit }: Pick<SnapshotFile, "repository" | "commit">,
    model: RepositoryModel,
    models: readonly RepositoryModel[],
  ): CachedModel {
    const root = this.snapshot(repository, commit);
    const files = model.files.map((name) => join(root, name));
    const stats = files.map((path) => Deno.statSync(path));
    const quant = quantToName(model, models);
    const isMain = readRef(join(this.folder(repository), "refs", DEFAULT_REVISION)) === commit;
    return {
      spec: formatHubSpec({
        repository,
        ...(quant !== undefined && { quant }),
        ...(!isMain && { revision: commit.slice(0, 12) }),
      }),
      format: model.format,
      path: model.format === "gguf" ? files[0]! : root,
      files,
      bytes: stats.reduce((sum, { size }) => sum + size, 0),
      time: new Date(Math.max(...stats.map(({ mtime }) => mtime?.getTime() ?? 0))),
    };
  }
}

function completeModels(snapshot: string): RepositoryModel[] {
  const present = filesUnder(snapshot).map((path) => path.split("/").slice(1).join("/"))
    .filter((path) => isThere(join(snapshot, path)));
  return modelsAmong(present).filter((model) => model.complete);
}

/** Returns the files below a directory; each path starts with the directory's own name. */
function filesUnder(directory: string, name = directory.split(/[/\\]/).at(-1)!): string[] {
  try {
    return [...Deno.readDirSync(directory)].flatMap((entry) =>
      entry.isDirectory
        ? filesUnder(join(directory, entry.name), `${name}/${entry.name}`)
        : [`${name}/${entry.name}`]
    );
  } catch {
    return [];
  }
}

function entries(directory: string): string[] {
  try {
    return Array.from(Deno.readDirSync(directory), ({ name }) => name).sort();
  } catch {
    return [];
  }
}

function readRef(path: string): string | undefined {
  try {
    const { bytes } = readAll(path, MAX_REF_BYTES);
    const commit = new TextDecoder().decode(bytes).trim();
    return COMMIT.test(commit) ? commit : undefined;
  } catch {
    return undefined;
  }
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}

/** Whether `path` exists, after following links. */
export function isThere(path: string): boolean {
  return statOf(path) !== undefined;
}

function identityOf(path: string): string {
  const stat = statOf(path);
  // Without inode numbers all files count as the same, so none is considered unused.
  return stat === undefined || stat.ino === null ? "" : `${stat.dev}:${stat.ino}`;
}
