/** A model of the hub: from the cache, which is asked first, or downloaded into it. */

import { ModelNotFoundError } from "../errors.ts";
import { printable } from "../files/quote.ts";
import type { CachedModel, HubCache } from "./cache.ts";
import { pull, type PullOptions } from "./pull.ts";
import { hubAddress, hubCache, isOffline } from "./settings.ts";
import { formatHubSpec, type HubSpec } from "./spec.ts";

/** Where to look for a model, and who wants to know how far its download is. */
export interface GetOptions extends Partial<PullOptions> {
  /** The directory of the cache; default as `hubCache` finds it. */
  readonly cache?: string;
  /** No network: the model must be in the cache. Default: as HF_HUB_OFFLINE says. */
  readonly offline?: boolean;
}

/**
 * The model that `spec` names.
 *
 * @throws {ModelNotFoundError} if it is not in the cache and cannot be downloaded.
 */
export async function getModel(spec: HubSpec, options: GetOptions = {}): Promise<CachedModel> {
  const cache = hubCache(options.cache);
  const found = cache.find(spec);
  if (found !== undefined) return found;
  if (options.offline ?? isOffline()) throw notCached(spec, cache);
  return await pullModel(spec, options);
}

/** Downloads what the cache does not have of what the hub means by `spec` now; throws as `pull`. */
export function pullModel(
  spec: HubSpec,
  { cache, offline: _, ...options }: GetOptions = {},
): Promise<CachedModel> {
  return pull(spec, hubCache(cache), { ...options, ...hubAddress(options) });
}

function notCached(spec: HubSpec, { directory }: HubCache): ModelNotFoundError {
  return new ModelNotFoundError(
    `Cannot find ${formatHubSpec(spec)} in the cache ${printable(directory)}: ` +
      `run it again online (no --offline, no HF_HUB_OFFLINE) to download it`,
  );
}
