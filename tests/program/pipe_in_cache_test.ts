import assert from "node:assert/strict";
import { join } from "node:path";
import { HubCache } from "../../engine/hub/cache.ts";
import { parseHubSpec } from "../../engine/hub/spec.ts";

Deno.test({
  name: "the cache waits for no pipe, and follows no link",
  ignore: Deno.build.os === "windows", // It has no pipes with a name.
  fn: async () => {
    const cache = new HubCache(await Deno.makeTempDir({ prefix: "tvllm-hub-" }));
    const refs = join(cache.folder("org/repo"), "refs");
    const locks = join(cache.directory, ".locks/models--org--repo");
    for (const folder of [refs, locks]) Deno.mkdirSync(folder, { recursive: true });
    for (const path of [join(refs, "main"), join(locks, "0.lock")]) {
      new Deno.Command("sh", { args: ["-c", 'mkfifo "$0"', path] }).outputSync();
    }
    assert.equal(cache.find(parseHubSpec("hf:org/repo")), undefined);
    const refuse = () => assert.fail("it waited");
    const id = { repository: "org/repo", hash: "0" };
    (await cache.lock(id, refuse, () => Promise.resolve()))[Symbol.dispose]();
    Deno.removeSync(cache.directory, { recursive: true });
  },
});
