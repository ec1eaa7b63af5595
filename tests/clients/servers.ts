/**
 * Tests `--endpoint` with another project's server: mlx_lm.server with a tiny model of random
 * weights. Run by `deno task test:servers`, not by ./tests/run. mlx-lm is installed once into
 * .cache/peers, unless TVLLM_MLX_PYTHON names a Python that has it.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { installMlx } from "../peers/peer.ts";
import { runTvllm, until } from "../program/run_tvllm.ts";

/** Returns a port that is currently free. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Starts mlx_lm.server on a tiny model, and ends it after `use`. */
async function withMlxServer(use: (address: string) => Promise<void>): Promise<void> {
  const python = await installMlx();
  const directory = await Deno.makeTempDir({ prefix: "tvllm-mlx-" });
  for (const [name, content] of Object.entries(tinySafetensors("llama", "F32"))) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(join(directory, name), bytes);
  }
  const port = freePort();
  const child = new Deno.Command(python, {
    args: [
      ...["-m", "mlx_lm", "server", "--model", directory],
      ...["--host", "127.0.0.1", "--port", `${port}`],
    ],
    env: { HF_HUB_OFFLINE: "1", HF_HOME: directory },
    ...{ stdin: "null", stdout: "null", stderr: "piped" },
  }).spawn();
  let log = "";
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) log += text;
  })();
  try {
    const address = `http://127.0.0.1:${port}`;
    await until(
      () =>
        fetch(`${address}/health`).then((r) => r.body?.cancel(), () => {}).then(() =>
          /Starting httpd|Uvicorn|listening/i.test(log) || undefined
        ),
      () => log,
    );
    // The server lists the models of its cache, which is empty. "default_model" is the name of the
    // model that it was started with.
    await use(address);
  } finally {
    child.kill("SIGKILL");
    await child.status;
    await reading;
    await Deno.remove(directory, { recursive: true });
  }
}

async function tvllm(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTvllm(args);
  assert.equal(code, 0, `${args.join(" ")}\n${stderr}`);
  return stdout;
}

await withMlxServer(async (address) => {
  const server = ["--endpoint", address, "--served-model", "default_model"];
  const sizes = ["-p", "32", "-n", "8", "--contexts", "16", "--requests", "4"];
  const small = [...sizes, "-r", "2", "--warmup", "1", "-q", "-o", "json"];

  const latency = JSON.parse(await tvllm("bench", "latency", ...server, ...small));
  assert.ok(latency.complete);
  assert.equal(latency.environment.endpoint.tokens, "usage");
  const valueOf = (id: string) =>
    latency.results.find((result: { metric: string }) => result.metric === id).value.toFixed(1);
  console.log(`bench latency: TTFT ${valueOf("ttft")} ms, TPOT ${valueOf("tpot")} ms`);

  const load = JSON.parse(
    await tvllm("bench", "load", ...server, ...small, "--request-rate", "20"),
  );
  const served = load.results.find((r: { metric: string }) => r.metric === "requests_served");
  assert.equal(served.value, 8);
  console.log(`bench load: ${served.value} requests served at 20 per second, none failed`);

  const prompt = ["Once upon a time", "--raw", "--temp", "0", "-n", "8"];
  const answer = JSON.parse(await tvllm("generate", ...server, ...prompt, "--json"));
  assert.equal(answer.generated_tokens, 8);
  assert.equal(answer.counted_by, "usage");
  // mlx_lm.server refuses -1, which other servers require for "any token".
  const drawn = ["Once", "--raw", "--temp", "0.8", "--top-k", "0", "-n", "4", "--json"];
  assert.equal(JSON.parse(await tvllm("generate", ...server, ...drawn)).generated_tokens, 4);
  console.log(`generate: ${answer.generated_tokens} tokens, ended by ${answer.finish}`);
});
