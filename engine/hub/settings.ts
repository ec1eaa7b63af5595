/** Finds the cache of models and the hub's address, from options or else from the environment. */

import { basename, dirname, join } from "node:path";
import { RequestError } from "../errors.ts";
import { printable } from "../files/quote.ts";
import { HubCache } from "./cache.ts";

/**
 * Returns the cache in `directory`, else in TVLLM_CACHE, else in the directory that Hugging Face's
 * programs use.
 *
 * @throws {RequestError} if none of these is set or may be read, and there is no home directory.
 */
export function hubCache(directory?: string): HubCache {
  const own = directory ?? variable("TVLLM_CACHE") ?? variable("HF_HUB_CACHE");
  if (own !== undefined) return new HubCache(own);
  const hf = variable("HF_HOME");
  if (hf !== undefined) return new HubCache(join(hf, "hub"));
  const cache = userDirectory("XDG_CACHE_HOME", ".cache");
  if (cache !== undefined) return new HubCache(join(cache, "huggingface", "hub"));
  // The command line always has this permission, so this is about the library's option.
  const { state } = Deno.permissions.querySync({ name: "env", variable: "TVLLM_CACHE" });
  throw new RequestError(
    state === "granted"
      ? "Cannot find the model cache: set TVLLM_CACHE to a directory"
      : "Cannot find the model cache: Deno has no permission to read TVLLM_CACHE; add --allow-env, " +
        "or pass the directory as the option cache",
  );
}

/** The address of the hub, and the token for it. */
export interface HubAddress {
  readonly endpoint: string;
  readonly token?: string;
  /** Origin of the token, for errors; default HF_TOKEN. */
  readonly tokenSource?: string;
}

/**
 * Returns the address of the hub: `endpoint`, else HF_ENDPOINT, else Hugging Face's. The token is
 * `token`, else HF_TOKEN, else the one that `hf auth login` saved.
 */
export function hubAddress({ endpoint, token, tokenSource }: Partial<HubAddress> = {}): HubAddress {
  const key = (token ?? variable("HF_TOKEN"))?.trim();
  const source = token === undefined ? undefined : tokenSource ?? "the token passed in the options";
  const saved = key ? undefined : savedToken();
  return {
    endpoint: endpoint ?? variable("HF_ENDPOINT") ?? "https://huggingface.co",
    ...(key && { token: key, ...(source !== undefined && { tokenSource: source }) }),
    ...(saved &&
      { token: saved.token, tokenSource: `the login saved in ${printable(saved.path)}` }),
  };
}

/** Longer files do not contain a token. */
const MAX_TOKEN_BYTES = 4096;

/**
 * Returns the token that `hf auth login` saved and the path of its file: HF_TOKEN_PATH,
 * HF_HOME/token, or a file beside the cache.
 */
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
      // Reading a pipe would block.
      if (!isFile || size > MAX_TOKEN_BYTES) continue;
      const token = Deno.readTextFileSync(path).trim();
      if (token !== "") return { token, path };
    } catch {
      // There is no login, or the file may not be read.
    }
  }
  return undefined;
}

/** Whether HF_HUB_OFFLINE forbids the network. */
export function isOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(variable("HF_HUB_OFFLINE") ?? "");
}

/**
 * Returns the user's directory for a kind of file: the value of the variable, else `below` in the
 * home directory.
 */
export function userDirectory(name: string, below: string): string | undefined {
  const home = variable("HOME") ?? variable("USERPROFILE");
  return variable(name) ?? (home && join(home, below));
}

/** Returns the value of a variable, or undefined if it is unset, empty or may not be read. */
export function variable(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
