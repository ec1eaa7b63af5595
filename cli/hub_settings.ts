/** What the environment says about the hub and its cache. */

import { join } from "node:path";
import { HubCache } from "../engine/hub/cache.ts";
import { type HubSpec, parseHubSpec } from "../engine/hub/spec.ts";
import { UsageError } from "./exit_codes.ts";

/** The cache: TVLLM_CACHE, else where Hugging Face's programs have theirs. */
export function hubCache(): HubCache {
  const own = variable("TVLLM_CACHE") ?? variable("HF_HUB_CACHE");
  if (own !== undefined) return new HubCache(own);
  const hf = variable("HF_HOME");
  if (hf !== undefined) return new HubCache(join(hf, "hub"));
  const home = variable("HOME") ?? variable("USERPROFILE");
  const cache = variable("XDG_CACHE_HOME") ?? (home && join(home, ".cache"));
  if (cache !== undefined) return new HubCache(join(cache, "huggingface", "hub"));
  throw new UsageError("Cannot find the cache of models: set TVLLM_CACHE to a directory");
}

/**
 * Where the hub is, and the token for it.
 *
 * @throws {UsageError} if HF_ENDPOINT is no web address.
 */
export function hubAccess(): { readonly endpoint: string; readonly token?: string } {
  const token = variable("HF_TOKEN")?.trim();
  const endpoint = variable("HF_ENDPOINT") ?? "https://huggingface.co";
  if (!/^https?:$/.test(URL.parse(endpoint)?.protocol ?? "")) {
    throw new UsageError(
      `Cannot use the hub '${endpoint}' of HF_ENDPOINT: it is no http or https address`,
    );
  }
  return {
    endpoint,
    ...(token && { token }),
  };
}

/** Whether HF_HUB_OFFLINE forbids the network. */
export function isOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(variable("HF_HUB_OFFLINE") ?? "");
}

/** @throws {UsageError} if `text` is no spec. */
export function hubSpec(text: string): HubSpec {
  try {
    return parseHubSpec(text);
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}

/** A variable that is set, not empty, and may be read. */
function variable(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
