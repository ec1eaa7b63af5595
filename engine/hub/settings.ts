/** Where the cache of models is, and how to reach the hub: as asked, else as the environment says. */

import { basename, dirname, join } from "node:path";
import { RequestError } from "../errors.ts";
import { printable } from "../files/quote.ts";
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
  const cache = userDirectory("XDG_CACHE_HOME", ".cache");
  if (cache !== undefined) return new HubCache(join(cache, "huggingface", "hub"));
  throw new RequestError("Cannot find the model cache: set TVLLM_CACHE to a directory");
}

/** Where the hub is, and the token for it. */
export interface HubAddress {
  readonly endpoint: string;
  readonly token?: string;
  /** Where the token is from, for errors; default HF_TOKEN. */
  readonly tokenSource?: string;
}

/**
 * The hub at `endpoint`, else at HF_ENDPOINT, else Hugging Face's. The token is HF_TOKEN's by default,
 * else that of the login which `hf auth login` saved.
 */
export function hubAddress({ endpoint, token }: Partial<HubAddress> = {}): HubAddress {
  const key = (token ?? variable("HF_TOKEN"))?.trim();
  const saved = key ? undefined : savedToken();
  return {
    endpoint: endpoint ?? variable("HF_ENDPOINT") ?? "https://huggingface.co",
    ...(key && { token: key }),
    ...(saved &&
      { token: saved.token, tokenSource: `the login saved in ${printable(saved.path)}` }),
  };
}

/** Longer files are no token. */
const MAX_TOKEN_BYTES = 4096;

/** Where `hf auth login` saves the token: HF_TOKEN_PATH, HF_HOME/token, or beside the cache. */
function savedToken(): { token: string; path: string } | undefined {
  const named = variable("HF_TOKEN_PATH");
  const hf = variable("HF_HOME");
  const cache = variable("TVLLM_CACHE") ?? variable("HF_HUB_CACHE");
  const base = userDirectory("XDG_CACHE_HOME", ".cache");
  const paths = named !== undefined ? [named] : hf !== undefined ? [join(hf, "token")] : [
    ...(cache !== undefined && basename(cache) === "hub" ? [join(dirname(cache), "token")] : []),
    ...(base !== undefined ? [join(base, "huggingface", "token")] : []),
  ];
  for (const path of paths) {
    try {
      const { isFile, size } = Deno.statSync(path);
      // A pipe would be waited for.
      if (!isFile || size > MAX_TOKEN_BYTES) continue;
      const token = Deno.readTextFileSync(path).trim();
      if (token !== "") return { token, path };
    } catch {
      // Nobody has logged in, or the file is not ours to read.
    }
  }
  return undefined;
}

/** Whether HF_HUB_OFFLINE forbids the network. */
export function isOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(variable("HF_HUB_OFFLINE") ?? "");
}

/** The user's directory for a kind of file: where the variable says, else `below` home. */
export function userDirectory(name: string, below: string): string | undefined {
  const home = variable("HOME") ?? variable("USERPROFILE");
  return variable(name) ?? (home && join(home, below));
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
