/** Files that are already at the paths pull() writes, and leftovers in the cache. */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import type { HubCache } from "../../engine/hub/cache.ts";
import { parseHubSpec } from "../../engine/hub/spec.ts";
import { sha256 } from "./bad_hub.ts";
import { BYTES, hubTest } from "./hub_case.ts";

const blobOf = (cache: HubCache) => {
  const blob = cache.blob({ repository: "org/repo", hash: sha256(BYTES) });
  Deno.mkdirSync(dirname(blob), { recursive: true });
  return blob;
};

hubTest("pull() never writes through a hard link to another file", async (_hub, cache, get) => {
  const victim = join(cache.directory, "victim");
  for (const suffix of [".incomplete", ""]) {
    const blob = blobOf(cache);
    Deno.writeTextFileSync(victim, "precious");
    Deno.linkSync(victim, `${blob}${suffix}`);
    assert.deepEqual(Deno.readFileSync(await get()), BYTES);
    assert.equal(Deno.readTextFileSync(victim), "precious");
    Deno.removeSync(cache.folder("org/repo"), { recursive: true });
  }
});

hubTest("pull() verifies a blob that is already in the cache", async (hub, cache, get) => {
  const blob = blobOf(cache);
  Deno.writeFileSync(blob, new Uint8Array(BYTES.length));
  assert.deepEqual(Deno.readFileSync(await get()), BYTES);
  assert.equal(hub.downloads.length, 1);
  // A correct blob is not downloaded again if only its link in the snapshot is lost.
  Deno.removeSync(join(cache.folder("org/repo"), "snapshots"), { recursive: true });
  assert.deepEqual(Deno.readFileSync(await get()), BYTES);
  assert.equal(hub.downloads.length, 1);
});

hubTest("remove() also deletes what a killed tvllm rm had moved away", async (_hub, cache, get) => {
  await get();
  Deno.mkdirSync(join(cache.directory, "models--a--b.1.removed/blobs"), { recursive: true });
  assert.equal(await cache.remove(parseHubSpec("hf:org/repo")), BYTES.length);
  const left = Array.from(Deno.readDirSync(cache.directory), ({ name }) => name);
  assert.deepEqual(left, [".locks"]);
});
