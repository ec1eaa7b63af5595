/** Where the cache of models is, and how to reach the hub: as asked, else as the environment says. */

import { join } from "node:path";
import { RequestError } from "../errors.ts";
import { HubCache } from "./cache.ts";

/**
 * The cache: `directory`, else TVLLM_CACHE, else where Hugging Face's programs have theirs.
 *
 * @throws {RequestError} if nothing says where.
 */
export function hubCache(directory?: string): HubCache {
  const own = directory ?? variable("TVLLM_CACHE") ?? variable("HF_HUB_CACHE");
  if (own !== undefined) return new HubCache(own);
  const hf = variable("HF_HOME");
  if (hf !== undefined) return new HubCache(join(hf, "hub"));
  const home = variable("HOME") ?? variable("USERPROFILE");
  const cache = variable("XDG_CACHE_HOME") ?? (home && join(home, ".cache"));
  if (cache !== undefined) return new HubCache(join(cache, "huggingface", "hub"));
  throw new RequestError("Cannot find the cache of models: set TVLLM_CACHE to a directory");
}

/** Where the hub is, and the token for it. */
export interface HubAddress {
  readonly endpoint: string;
  readonly token?: string;
}

/** The hub at `endpoint`, else at HF_ENDPOINT, else Hugging Face's; the token is HF_TOKEN's by default. */
export function hubAddress({ endpoint, token }: Partial<HubAddress> = {}): HubAddress {
  const key = (token ?? variable("HF_TOKEN"))?.trim();
  return {
    endpoint: endpoint ?? variable("HF_ENDPOINT") ?? "https://huggingface.co",
    ...(key && { token: key }),
  };
}

/** Whether HF_HUB_OFFLINE forbids the network. */
export function isOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(variable("HF_HUB_OFFLINE") ?? "");
}

/** A variable that is set, not empty, and may be read. */
export function variable(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
