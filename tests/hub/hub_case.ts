/** Declares tests that have a hub with one model, and an empty cache. */

import assert from "node:assert/strict";
import { ModelNotFoundError } from "../../engine/errors.ts";
import { pull, type PullOptions } from "../../engine/hub/pull.ts";
import { HubCache } from "../../engine/hub/cache.ts";
import { parseHubSpec } from "../../engine/hub/spec.ts";
import { BadHub, COMMIT, content } from "./bad_hub.ts";

/** File name of the model. */
export const NAME = "model-Q4_K_M.gguf";
export const BYTES = content(200_000);
/** Path of the file at the hub. */
export const PATH = `/org/repo/resolve/${COMMIT}/${NAME}`;
/** Few attempts with short pauses, but enough patience for a slow machine. */
export const timing = { attempts: 3, backoff: 5, stall: 60_000, longestWait: 2000 };

/** Declares a test. Its `get` pulls the model and returns the path. */
export function hubTest(
  name: string,
  fn: (
    hub: BadHub,
    cache: HubCache,
    get: (options?: Partial<PullOptions>, spec?: string) => Promise<string>,
  ) => Promise<void>,
): void {
  Deno.test(name, async () => {
    await using hub = new BadHub({ [NAME]: BYTES });
    const directory = await Deno.makeTempDir({ prefix: "tvllm-hub-" });
    const cache = new HubCache(directory);
    try {
      await fn(hub, cache, async (options, spec = "hf:org/repo") => {
        const { path } = await pull(parseHubSpec(spec), cache, {
          endpoint: hub.endpoint,
          timing,
          ...options,
          onProgress: (bytes) => {
            options?.onProgress?.(bytes);
            hub.progress(bytes);
          },
        });
        return path;
      });
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}

/** Asserts that `work` fails with a ModelNotFoundError of one line that matches. */
export async function refused(work: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof ModelNotFoundError, Deno.inspect(error));
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  });
}
