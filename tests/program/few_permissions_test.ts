/** What the program says if Deno was started with too few permissions, as the bundle's users can. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { BadHub, content } from "../hub/bad_hub.ts";
import { ROOT, run } from "./run_tvllm.ts";

/** Returns the error of `deno run FLAGS cli/main.ts ARGS` in an empty directory. */
async function errorWith(
  flags: readonly string[],
  args: string,
  env: Record<string, string> = {},
): Promise<string> {
  const main = join(ROOT, "cli/main.ts");
  const { code, stderr } = await run(
    Deno.execPath(),
    ["run", "--no-prompt", ...flags, main, ...args.split(" ")],
    { env, cwd: Deno.makeTempDirSync() },
  );
  assert.notEqual(code, 0, stderr);
  return stderr.trimEnd().split("\n").at(-1)!;
}

const NO_WRITE = /: Deno has no permission to write it; add --allow-write$/;

for (
  const args of [
    "bench latency --json x.json",
    "bench latency --html x.html",
    "synth tiny-llama -o x.gguf",
    "synth tiny-llama --format safetensors -o x",
    "generate hi -n 1 -m synth:tiny-llama",
    "tune",
  ]
) {
  Deno.test(`tvllm ${args} without --allow-write says that this permission is missing`, async () => {
    const TVLLM_CACHE = join(Deno.makeTempDirSync(), "cache");
    for (const flags of [["-RE"], ["-RE", "--allow-write=/elsewhere"]]) {
      assert.match(await errorWith(flags, args, { TVLLM_CACHE }), NO_WRITE);
    }
  });
}

Deno.test("tvllm pull without --allow-write says that this permission is missing", async () => {
  await using hub = new BadHub({ "model-Q8_0.gguf": content(100) });
  const env = { TVLLM_CACHE: join(Deno.makeTempDirSync(), "cache"), HF_ENDPOINT: hub.endpoint };
  assert.match(await errorWith(["-RNE"], "pull hf:org/repo", env), NO_WRITE);
});

Deno.test("load() without --allow-env says that the cache's variable cannot be read", async () => {
  const script = join(Deno.makeTempDirSync(), "program.ts");
  Deno.writeTextFileSync(
    script,
    `import { load } from ${JSON.stringify(join(ROOT, "mod.ts"))};
    await load("hf:a/b").catch(({ name, message }) => console.log(name + ": " + message));`,
  );
  const config = `--config=${join(ROOT, "deno.json")}`;
  const errorWith = async (flags: string[]) => {
    const args = ["run", "--no-prompt", config, "-RNW", ...flags, script];
    return (await run(Deno.execPath(), args)).stdout;
  };
  const start = "RequestError: Cannot find the model cache:";
  assert.equal(
    await errorWith([]),
    `${start} Deno has no permission to read TVLLM_CACHE; add --allow-env, ` +
      "or pass the directory as the option cache\n",
  );
  assert.equal(
    await errorWith(["--allow-env=TVLLM_CACHE"]),
    `${start} set TVLLM_CACHE to a directory\n`,
  );
});

Deno.test("an error about a file says whether Deno lacks a permission, or never reads or writes it", async () => {
  const refused: readonly (readonly [string, string, RegExp])[] = [
    ["-E", "inspect x.gguf", /has no permission to read it; add --allow-read/],
    ["-E", "perplexity -f x.txt", /has no permission to read it; add --allow-read/],
    ["-RWE", "synth tiny-llama -o /proc/x", /: Deno does not write to \/proc, \/sys or devices;/],
    ...(Deno.build.os === "linux"
      ? [["-RE", "inspect /proc/self/mem", /: Deno does not read devices, nor some /] as const]
      : []),
  ];
  for (const [flag, args, message] of refused) {
    assert.match(await errorWith([flag], args), message);
  }
});
