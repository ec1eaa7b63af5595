/** Gets a model of the hub from the cache, or downloads it if the cache does not have it. */

import { ModelNotFoundError } from "../errors.ts";
import { printable } from "../files/quote.ts";
import type { CachedModel, HubCache } from "./cache.ts";
import { pull, type PullOptions } from "./pull.ts";
import { hubAddress, hubCache, isOffline } from "./settings.ts";
import { formatHubSpec, type HubSpec } from "./spec.ts";

/** Where to look for a model, and callbacks for the download's progress. */
export interface GetOptions extends Partial<PullOptions> {
  /** The directory of the cache; default the one that `hubCache` finds. */
  readonly cache?: string;
  /**
   * Do not use the network: the model must be in the cache. Default: the value of HF_HUB_OFFLINE.
   */
  readonly offline?: boolean;
}

/**
 * Returns the model that `spec` names, downloading it if necessary.
 *
 * @throws {ModelNotFoundError} if it is not in the cache and cannot be downloaded, or if `spec`
 * matches several models.
 */
export async function getModel(spec: HubSpec, options: GetOptions = {}): Promise<CachedModel> {
  const cache = hubCache(options.cache);
  const found = cache.find(spec);
  if (found !== undefined) return found;
  if (options.offline ?? isOffline()) throw notCached(spec, cache);
  return await pullModel(spec, options);
}

/**
 * Downloads the files that the cache lacks of the model to which `spec` refers on the hub now.
 * Throws as `pull` does.
 */
export function pullModel(
  spec: HubSpec,
  { cache, offline: _, ...options }: GetOptions = {},
): Promise<CachedModel> {
  return pull(spec, hubCache(cache), { ...options, ...hubAddress(options) });
}

function notCached(spec: HubSpec, { directory }: HubCache): ModelNotFoundError {
  return new ModelNotFoundError(
    `Cannot find ${formatHubSpec(spec)} in the cache ${printable(directory)}: ` +
      `run it again without --offline and HF_HUB_OFFLINE to download it`,
  );
}
