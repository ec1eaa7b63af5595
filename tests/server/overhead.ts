/**
 * Measures the overhead of serving: with `deno task serve:overhead MODEL.gguf`, a server and an
 * engine in this process answer the same eight concurrent requests, alternately. Prints the CPU
 * time per token of each. Needs Linux, whose /proc contains the CPU time of the server.
 */

import assert from "node:assert/strict";
import process from "node:process";
import { load } from "../../mod.ts";
import { medianOf } from "../../bench/report/stats.ts";
import { baseEnv, LAUNCHER } from "../program/run_tvllm.ts";
import { withServer } from "../program/served.ts";

const [MODEL = "", rounds = "7"] = Deno.args;
const REQUESTS = 8;
const TOKENS = 32;
const PROMPTS = Array.from({ length: REQUESTS }, (_, i) => `${i} days after the great storm, the`);
/** Clock ticks per second in Linux's /proc/PID/stat. */
const TICKS = 100;

/** CPU seconds of a process and its threads. */
function cpuOf(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function ask(address: string, prompt: string): Promise<void> {
  const response = await fetch(`${address}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({
      ...{ prompt, max_tokens: TOKENS, ignore_eos: true, temperature: 0, stream: true },
    }),
  });
  const events = (await response.text()).split("\n\n").filter((event) => event !== "");
  assert.equal(events.length, TOKENS + 1); // the last one is [DONE]
}

await using model = await load(MODEL, { device: "cpu", threads: 1, maxSequences: REQUESTS });

/** Runs the requests in the engine only, which does not turn the tokens into text. */
async function direct(): Promise<void> {
  await Promise.all(PROMPTS.map(async (prompt) => {
    const promptIds = model.encodePrompt(prompt, { raw: true }).ids;
    const sampling = { temperature: 0 };
    const stream = model.engine.submit({ promptIds, maxTokens: TOKENS, sampling, stopIds: [] });
    let tokens = 0;
    for await (const _ of stream) tokens++;
    assert.equal(tokens, TOKENS);
  }));
}

const program = { command: "sh", args: [LAUNCHER], env: baseEnv() };
await withServer(program, ["-m", MODEL, "--concurrency", `${REQUESTS}`], async (served) => {
  const { address, child: { pid } } = served;
  // The launcher's process becomes Deno, so `pid` is that of the server itself.
  const serve = () => Promise.all(PROMPTS.map((prompt) => ask(address, prompt)));
  const reset = async () => {
    const response = await fetch(`${address}/reset_prefix_cache`, { method: "POST" });
    await response.body?.cancel();
    model.engine.clearPrefixCache();
  };
  const ratios: number[] = [];
  for (let round = -1; round < Number(rounds); round++) {
    await reset();
    const before = [cpuOf(pid), process.cpuUsage()] as const;
    await serve();
    const server = cpuOf(pid) - before[0];
    const own = process.cpuUsage();
    await direct();
    const { user, system } = process.cpuUsage(own);
    const engine = (user + system) / 1e6;
    if (round < 0) continue; // the first round is a warm-up
    ratios.push(server / engine);
    const each = (seconds: number) => (1000 * seconds / (REQUESTS * TOKENS)).toFixed(2);
    console.log(`server ${each(server)} ms, engine ${each(engine)} ms of CPU per token`);
  }
  console.log(`median ratio ${medianOf(ratios).toFixed(3)} of ${ratios.length} rounds`);
});
