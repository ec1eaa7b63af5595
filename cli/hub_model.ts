/** Gets a model of the hub, with progress and in the user's words. */

import { ModelNotFoundError } from "../engine/errors.ts";
import { pull } from "../engine/hub/pull.ts";
import type { CachedModel } from "../engine/hub/cache.ts";
import { formatHubSpec, type HubSpec } from "../engine/hub/spec.ts";
import { printable } from "../engine/files/quote.ts";
import { hubAccess, hubCache, isOffline } from "./hub_settings.ts";
import { Interrupts } from "./interrupt.ts";
import type { Terminal } from "./terminal.ts";
import { duration, size, transferLine, TransferRate } from "./transfer.ts";

/**
 * The model in the cache, which is asked first.
 *
 * @throws {ModelNotFoundError} if it is not there and cannot be downloaded, or HF_HUB_OFFLINE is set.
 */
export async function cachedOrDownloaded(spec: HubSpec, terminal: Terminal): Promise<CachedModel> {
  return hubCache().find(spec) ??
    (isOffline() ? modelInCache(spec) : await downloadModel(spec, terminal));
}

/** @throws {ModelNotFoundError} if it is not there. */
export function modelInCache(spec: HubSpec): CachedModel {
  const cache = hubCache();
  const model = cache.find(spec);
  if (model !== undefined) return model;
  throw new ModelNotFoundError(
    `Cannot find ${formatHubSpec(spec)} in the cache ${printable(cache.directory)}: ` +
      `run it again without --offline and HF_HUB_OFFLINE to download it`,
  );
}

/**
 * Downloads what the cache does not have of what the hub means by `spec` now.
 *
 * @throws {ModelNotFoundError} as `pull` does.
 * @throws {InterruptedError} after Ctrl-C; what has come is kept.
 */
export async function downloadModel(spec: HubSpec, terminal: Terminal): Promise<CachedModel> {
  using interrupts = new Interrupts();
  const started = performance.now();
  const rate = new TransferRate();
  let total = 0;
  let progress: ReturnType<Terminal["progress"]> | undefined;
  try {
    const model = await pull(spec, hubCache(), {
      ...hubAccess(),
      signal: interrupts.signal,
      onStart: (files, bytes) => {
        total = bytes;
        terminal.note(
          `Downloading ${files === 1 ? "one file" : `${files} files`}, ${size(bytes)}`,
        );
        progress = terminal.progress("", bytes);
      },
      onProgress: (bytes) =>
        progress?.update(bytes, transferLine(bytes, total, rate.add(bytes, performance.now()))),
      onRetry: (line) => terminal.warn(line),
      onWait: () => terminal.note("Waiting for another process that downloads the same file"),
    });
    progress?.[Symbol.dispose]();
    terminal.note(
      total === 0
        ? `${model.spec} is there already`
        : `Downloaded and verified in ${duration((performance.now() - started) / 1000)}`,
    );
    return model;
  } finally {
    progress?.[Symbol.dispose]();
  }
}
