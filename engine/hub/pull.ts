/** Downloads models from the hub into the cache. */

import { ModelNotFoundError } from "../errors.ts";
import { type CachedModel, type HubCache, isThere } from "./cache.ts";
import { type HubAccess, HubClient, isWebPage } from "./client.ts";
import { downloadBlob, type RemoteFile } from "./download.ts";
import { DEFAULT_REVISION, formatHubSpec, type HubSpec, isSafePath } from "./spec.ts";
import { listQuants, matchingModels, modelsAmong, type RepositoryModel } from "./select.ts";
import { quote } from "../files/quote.ts";

/** The beginning of a model, to check before the rest is downloaded. */
export interface Beginning {
  /** config.json, or a GGUF file. */
  readonly name: string;
  /** At least the first bytes of the file. */
  readonly bytes: Uint8Array;
  /** Bytes of the whole file. */
  readonly size: number;
}

/** Where to get models, and callbacks for the progress. */
export interface PullOptions extends HubAccess {
  /**
   * Called before the download with the number and size of the missing files; not if none is
   * missing.
   */
  readonly onStart?: (files: number, bytes: number) => void;
  readonly onProgress?: (bytes: number) => void;
  /** Called if another process downloads the same file, before waiting for it. */
  readonly onWait?: () => void;
  /**
   * Called with the beginning of a large model before the rest is downloaded. It throws to refuse
   * the model, and returns false to see more.
   */
  readonly check?: (beginning: Beginning) => boolean;
}

/** Smaller files are not checked first, as the check would save little. */
const LARGE = 64 * 2 ** 20;
/**
 * Bytes of a GGUF file to check: a header is about 5 MB, or 15 MB with the largest vocabularies.
 * The larger number is used if the smaller one is not enough.
 */
const BEGINNINGS = [8 * 2 ** 20, 32 * 2 ** 20];

const MAX_LIST_BYTES = 32 * 2 ** 20;
/** The hub itself advises against more files in one repository. */
const MAX_FILES = 100_000;

/**
 * Looks up the current commit of `spec` on the hub, and downloads the files that the cache lacks.
 * The branch in the cache is updated only when all files are there.
 *
 * @throws {ModelNotFoundError} if there is no such model, or it cannot be downloaded.
 */
export async function pull(
  spec: HubSpec,
  cache: HubCache,
  options: PullOptions,
): Promise<CachedModel> {
  const { repository, revision = DEFAULT_REVISION } = spec;
  const client = new HubClient(options);
  const { commit, files } = await listFiles(client, spec);
  const model = choose(spec, modelsAmong([...files.keys()]));
  const wanted = model.files.map((name) => {
    const file = remoteFile(spec, files.get(name)!);
    const path = name.split("/").map(encodeURIComponent).join("/");
    return { ...file, url: client.url(`/${repository}/resolve/${commit}/${path}`) };
  });
  const missing = wanted.filter(({ name }) =>
    !isThere(`${cache.snapshot(repository, commit)}/${name}`)
  );
  if (missing.length > 0) {
    options.onStart?.(missing.length, missing.reduce((sum, { size }) => sum + size, 0));
  }
  const { check } = options;
  let before = 0;
  let checked = check === undefined || missing.every(({ size }) => size < LARGE);
  for (const file of missing) {
    if (!checked && (model.format === "gguf" || file.name.endsWith(".safetensors"))) {
      checked = true;
      const folder = cache.snapshot(repository, commit);
      if (model.format === "gguf") await checkBeginning(client, file, check!);
      else check!(await beginningOf(`${folder}/config.json`));
    }
    await downloadBlob({ client, cache, repository }, file, {
      onBytes: (bytes) => options.onProgress?.(before + bytes),
      onWait: () => options.onWait?.(),
    });
    await cache.link({ repository, commit, name: file.name, hash: file.hash });
    before += file.size;
    options.onProgress?.(before);
  }
  await cache.writeRef(repository, revision, commit);
  const found = cache.find({
    repository,
    revision: commit,
    ...(model.format === "gguf" && { quant: model.files[0]! }),
  });
  if (found === undefined) {
    throw new Error(`Cannot find ${formatHubSpec(spec)} after downloading it`);
  }
  return found;
}

async function beginningOf(path: string): Promise<Beginning> {
  const bytes = await Deno.readFile(path);
  return { name: path, bytes, size: bytes.length };
}

/** Downloads the first bytes of the file and checks them, or more of them if necessary. */
async function checkBeginning(
  client: HubClient,
  { name, url, size }: RemoteFile,
  check: NonNullable<PullOptions["check"]>,
): Promise<void> {
  for (const length of BEGINNINGS) {
    const headers = { range: `bytes=0-${Math.min(length, size) - 1}` };
    const bytes = await client.retry(
      name,
      () =>
        client.request({ what: name, url, headers }, async (response, onActivity) => {
          const parts: Uint8Array<ArrayBuffer>[] = [];
          let count = 0;
          for await (const part of response.body ?? []) {
            onActivity();
            parts.push(part);
            count += part.length;
            if (count >= length) break;
          }
          return await new Blob(parts).bytes();
        }),
    );
    if (check({ name, bytes, size })) return;
  }
}

/** A file in the hub's list, its values not checked. */
interface Sibling {
  readonly rfilename?: unknown;
  readonly size?: unknown;
  readonly blobId?: unknown;
  readonly lfs?: { readonly sha256?: unknown; readonly size?: unknown } | null;
}

/** Returns the commit of a revision, and its files by name. */
async function listFiles(client: HubClient, spec: HubSpec) {
  const what = formatHubSpec(spec);
  const revision = encodeURIComponent(spec.revision ?? DEFAULT_REVISION);
  const url = client.url(`/api/models/${spec.repository}/revision/${revision}?blobs=true`);
  const headers = { accept: "application/json" };
  const fault = (why: string) =>
    new ModelNotFoundError(`Cannot download ${what}: ${why}; check HF_ENDPOINT and the network`);
  const text = await client.retry(
    what,
    () =>
      client.request({ what, url, headers }, async (response, onActivity) => {
        if (isWebPage(response)) {
          throw fault("the server sent a web page instead of the list of files");
        }
        const decoder = new TextDecoder();
        let text = "";
        for await (const chunk of response.body ?? []) {
          onActivity();
          text += decoder.decode(chunk, { stream: true });
          if (text.length > MAX_LIST_BYTES) throw fault("the list of files is too long");
        }
        return text + decoder.decode();
      }),
  );
  let answer: { sha?: unknown; siblings?: unknown } | null;
  try {
    answer = JSON.parse(text);
  } catch {
    throw fault("the list of files is not JSON");
  }
  const { sha: commit, siblings } = answer ?? {};
  if (typeof commit !== "string" || !/^[0-9a-f]{40}$/.test(commit) || !Array.isArray(siblings)) {
    throw fault("the response is not a list of files");
  }
  const files = new Map<string, Sibling>();
  if (siblings.length > MAX_FILES) {
    throw fault(`the list has ${siblings.length} files, above the limit of ${MAX_FILES}`);
  }
  for (const file of siblings as (Sibling | null)[]) {
    if (typeof file?.rfilename === "string") files.set(file.rfilename, file);
  }
  return { commit, files };
}

/**
 * Returns the only model that matches `spec`.
 *
 * @throws {ModelNotFoundError} if none or several match, or the model is incomplete.
 */
function choose(spec: HubSpec, models: readonly RepositoryModel[]): RepositoryModel {
  const matches = matchingModels(models, spec.quant);
  const [model] = matches;
  const refuse = (why: string) =>
    new ModelNotFoundError(`Cannot download ${formatHubSpec(spec)}: ${why}`);
  if (models.length === 0) {
    throw refuse("it has neither GGUF nor safetensors files; choose another repository");
  }
  if (model === undefined) {
    const names = listQuants(models, models);
    throw refuse(`it has no ${quote(spec.quant ?? "")}; append :QUANT, one of ${names}`);
  }
  if (matches.length > 1) {
    throw refuse(`it has several models; append :QUANT, one of ${listQuants(matches, models)}`);
  }
  if (!model.complete) {
    throw refuse("some of its files are missing on the hub; choose another model");
  }
  return model;
}

/**
 * Checks a file of the list.
 *
 * @throws {ModelNotFoundError} if its path is unsafe, or its size or hash is missing.
 */
function remoteFile(spec: HubSpec, file: Sibling): Omit<RemoteFile, "url"> {
  const name = String(file.rfilename);
  const fault = (why: string) =>
    new ModelNotFoundError(
      `Cannot download ${formatHubSpec(spec)}: its file ${
        quote(name)
      } ${why}; choose another model`,
    );
  if (!isSafePath(name)) throw fault("has an unsafe path");
  const size = file.lfs?.size ?? file.size;
  const hash = file.lfs?.sha256 ?? file.blobId;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw fault("has no size");
  }
  if (typeof hash !== "string" || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) {
    throw fault("has no hash to verify it");
  }
  return { name, size, hash };
}
