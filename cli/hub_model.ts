/** Gets a model from the hub, with progress and notes for the user. */

import { checkDownload } from "../engine/check_download.ts";
import type { CachedModel } from "../engine/hub/cache.ts";
import { getModel, pullModel } from "../engine/hub/get.ts";
import type { PullOptions } from "../engine/hub/pull.ts";
import type { HubSpec } from "../engine/hub/spec.ts";
import { Interrupts } from "./interrupt.ts";
import { MeteredProgress } from "./metered_progress.ts";
import type { Terminal } from "./terminal.ts";
import { counted, duration, size } from "./transfer.ts";

/**
 * Returns the model from the cache, or downloads it.
 *
 * @throws {ModelNotFoundError} if it is not in the cache and cannot be downloaded, for example
 * because HF_HUB_OFFLINE is set.
 * @throws {InterruptedError} after Ctrl-C; the downloaded part is kept.
 */
export async function cachedOrDownloaded(spec: HubSpec, terminal: Terminal): Promise<CachedModel> {
  return (await shown(terminal, (events) => getModel(spec, events))).model;
}

/**
 * Downloads the model's current version on the hub, if needed; throws as `cachedOrDownloaded` does.
 */
export async function downloadModel(spec: HubSpec, terminal: Terminal): Promise<CachedModel> {
  const { model, downloaded } = await shown(terminal, (events) => pullModel(spec, events));
  if (!downloaded) terminal.note(`${model.spec} is already in the cache`);
  return model;
}

/** Calls `get` and shows the progress of a download, if there is one. Ctrl-C ends it. */
async function shown(
  terminal: Terminal,
  get: (events: Partial<PullOptions>) => Promise<CachedModel>,
): Promise<{ readonly model: CachedModel; readonly downloaded: boolean }> {
  using interrupts = new Interrupts();
  const started = performance.now();
  let progress: MeteredProgress | undefined;
  try {
    const model = await get({
      signal: interrupts.signal,
      check: checkDownload,
      onStart: (files, bytes) => {
        terminal.note(
          `Downloading ${counted(files, "file")}, ${size(bytes)}`,
        );
        progress = new MeteredProgress({ label: "", total: bytes, unit: "byte" }, terminal);
      },
      onProgress: (bytes) => progress?.update(bytes),
      onRetry: (line) => terminal.warn(line),
      onWait: () => terminal.note("Waiting for another process to download the same file"),
    });
    progress?.[Symbol.dispose]();
    const downloaded = progress !== undefined;
    if (downloaded) {
      terminal.note(`Downloaded and verified in ${duration((performance.now() - started) / 1000)}`);
    }
    return { model, downloaded };
  } finally {
    progress?.[Symbol.dispose]();
  }
}
