/** Checks that nothing waits for a pipe in the place of a file. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { HubCache } from "../../engine/hub/cache.ts";
import { parseHubSpec } from "../../engine/hub/spec.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { validSafetensors } from "../files/raw_safetensors.ts";
import { withFiles } from "../files/on_disk.ts";
import { BadHub } from "../hub/bad_hub.ts";
import { runTvllm } from "./run_tvllm.ts";

const ignore = Deno.build.os === "windows"; // Windows has no named pipes in the file system.

function makePipe(path: string): void {
  assert.ok(new Deno.Command("sh", { args: ["-c", 'mkfifo "$0"', path] }).outputSync().success);
}

Deno.test({
  name: "the cache does not wait for a pipe in the place of a reference or a lock",
  ignore,
  fn: async () => {
    const cache = new HubCache(await Deno.makeTempDir({ prefix: "tvllm-hub-" }));
    const refs = join(cache.folder("org/repo"), "refs");
    const locks = join(cache.directory, ".locks/models--org--repo");
    for (const folder of [refs, locks]) Deno.mkdirSync(folder, { recursive: true });
    for (const path of [join(refs, "main"), join(locks, "0.lock")]) makePipe(path);
    assert.equal(cache.find(parseHubSpec("hf:org/repo")), undefined);
    const refuse = () => assert.fail("it waited");
    const id = { repository: "org/repo", hash: "0" };
    (await cache.lock(id, refuse, () => Promise.resolve()))[Symbol.dispose]();
    Deno.removeSync(cache.directory, { recursive: true });
  },
});

Deno.test({
  name: "a model that is a pipe, or has one among its files, is refused",
  ignore,
  fn: () => {
    const weights = validSafetensors();
    for (
      const [name, files] of Object.entries({
        "model.gguf": {},
        "config.json": { "model.safetensors": weights },
        "model.safetensors": { "config.json": "{}" },
        "model.safetensors.index.json": { "config.json": "{}" },
        "tokenizer.json": { "config.json": "{}", "model.safetensors": weights },
        "tokenizer_config.json": { "config.json": "{}", "model.safetensors": weights },
        "chat_template.jinja": { "config.json": "{}", "model.safetensors": weights },
      })
    ) {
      withFiles(files, (directory) => {
        const path = join(directory, name);
        makePipe(path);
        assert.throws(() => openModelFile(name === "model.gguf" ? path : directory).close(), {
          name: "ModelFormatError",
          message: new RegExp(`^Cannot open ${path}: it is a pipe or a device, `),
        });
      });
    }
  },
});

Deno.test({
  name: "a download does not wait for a pipe in the place of the token",
  ignore,
  fn: async () => {
    await using hub = new BadHub({});
    hub.fault = () => new Response("", { status: 404 });
    const home = Deno.makeTempDirSync();
    const HF_TOKEN_PATH = join(home, "token");
    makePipe(HF_TOKEN_PATH);
    const env = { HF_TOKEN_PATH, TVLLM_CACHE: home, HF_ENDPOINT: hub.endpoint };
    const { code, stderr } = await runTvllm(["pull", "hf:org/repo"], { env });
    assert.equal(code, 3, stderr);
    assert.match(stderr, /^error: Cannot download hf:org\/repo: [^\n]*\(404\)[^\n]*\n$/);
  },
});
