/** Runs every suite briefly on the real adapter with the built-in model, and checks its report. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { loadModel, openGguf } from "../../engine/mod.ts";
import { EngineTarget } from "../../bench/targets/engine_target.ts";
import { Harness } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { type Report, reportSchema, type RunOptions } from "../../bench/report/report.ts";
import { makePrompts } from "../../bench/harness/prompts.ts";
import { breakdown } from "../../bench/suites/breakdown.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { pagedCache } from "../../bench/suites/paged_cache.ts";
import { decodeStepTimes } from "../../bench/harness/timings.ts";
import { verifyByReference } from "../../bench/harness/verify.ts";
import { recompute } from "../program/recompute.ts";
import { numberOf, PROGRAM, resultOf, RUN as SCRIPTED_RUN } from "../bench/scripted_target.ts";
import { BufferCounter } from "./buffer_counter.ts";

const [MODEL, TINY] = ["builtin.gguf", "models/tiny-llama-q8_0.gguf"].map((name) =>
  fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url))
) as [string, string];

const RUN: RunOptions = {
  ...SCRIPTED_RUN,
  // Whole blocks, so that a cached prompt needs its last block copied.
  promptTokens: 32,
  maxTokens: 6,
  prompts: 2,
  warmup: 1,
  repetitions: 3,
  concurrency: [1, 2],
  seed: 0,
  contexts: [32, 128],
};

/** The columns of each suite's tables, exactly, because people compare the tables. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  speed: [
    "Model | Size | Params | Backend | Threads | Differs | Test | t/s | TTFT (ms) | Peak memory | % of limit | Output check",
  ],
  throughput: [
    "Benchmark | Tokens/sec | Utilization | Cache Hit Rate",
    "Metric | Value | Limit (computed) | % of limit",
    "Context Length | Tokens | Time (s) | Tok/sec",
    "Requests | Total Tokens | Total Time (s) | Throughput (tok/s) | Requests/sec | Speedup | Cache Hit Rate",
  ],
  latency: [
    "Metric | Value",
    "Metric | Value | Limit (computed) | % of limit",
    "Prompt | Prompt Tokens | Tokens | TTFT (ms) | TPOT (ms) | tok/s",
    "Context | TTFT (ms) | TPOT (ms) | Decode tok/s",
    "Model | TTFT | Generation Speed",
    "Model | Runs | Prompt Tok | Gen Tok | Total Time (s) | TTFT Mean (ms) | TPOT Mean (ms) | Gen Speed (tok/s) | Total Throughput (tok/s) | Memory",
  ],
  memory: [
    "Metric | Value",
    "Sequences | Tokens | KV Cache",
    "Context Length | KV Cache",
    "Scenario | Memory Savings",
  ],
  scalability: ["Requests | Running | Tok/sec | Efficiency | Cache Hit Rate"],
  breakdown: [
    "Operation | Median (ms) | Calls | % of Total",
    "Metric | Value | Limit (computed) | % of limit",
    "Kernel | Calls | Total (ms) | Per call (µs) | % | GFLOPS | GB/s | % of limit",
    "Kernel | Calls | Total (ms) | Per call (µs) | % | GFLOPS | GB/s | % of limit",
    "Part | Time (ms) | % of a step",
    "Overhead | Value",
    "Finding | What | Evidence | Maximum gain",
  ],
  detokenizer: [
    "Sequence | Tokens | Iterations | decode() | Full decode | Streaming | Speedup | Speedup vs Full",
    "What | Time",
    "Metric | Naive decode() | Streaming (new instance) | Streaming (pooled)",
  ],
  "prefix-cache": [
    "Test | Expected | Actual | Time | Status",
    "Cache Hits | Cache Misses | Hit Rate | Tokens Saved | Block Hits | Block Misses | Block Hit Rate | Uncached TTFT (ms) | Cached TTFT (ms) | Cached Speedup",
  ],
  "paged-cache": [
    "Mode | Time (s) | Throughput (tok/s) | Cache Hit Rate",
    "Speedup | Blocks Allocated | Shared Blocks | Cache Hits | Tokens Saved | Block Hits | Time without (s) | Time with (s)",
  ],
  modes: [
    "Format | Throughput | Latency | vs direct | Context",
    "Metric | Value",
    "Metric | Value | Calculation",
  ],
  scenarios: [
    "ID | Description | Prompt | Decode | TTFT (ms) | Decode TPS | Prefill TPS",
    "Metric | Value | Limit (computed) | % of limit",
    "Metric | Value | Description | Ideal",
    "ID | Description | Prompt | Decode | TTFT (ms) | Decode TPS | Prefill TPS",
  ],
  kernels: [
    "Kernel | Error | Tolerance | Status",
    "Kernel | Shape | Tokens | Time (µs) | GFLOPS | GB/s | % of limit | Time vs 1 token | Gain",
    "Requests | Decode tok/s | Speedup | Matrix products of a step (ms) | Upper bound | Reached",
  ],
};

/** Options that shorten suites, so that the test is quick. */
const LESS: Readonly<Record<string, Partial<RunOptions>>> = {
  speed: { suiteOptions: { pg: "32+4", depth: "0,32" } },
  scenarios: { warmup: 0, repetitions: 2, suiteOptions: { baseline: "cpu" } },
  kernels: {
    suiteOptions: {
      only: "q8_0,attention,rope_append,top_k,experts,combine,sampling",
      shape: "64x96",
    },
  },
};

/** Returns all values of a metric. */
function valuesOf({ results }: Report, metric: string): number[] {
  return results.filter((result) => result.metric === metric).map(({ value }) => value);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** Asserts what must hold for the report of any suite. */
function assertWhole(report: Report): void {
  reportSchema.parse(report);
  assert.ok(report.complete);
  const columns = report.tables.map((table) => table.columns.join(" | "));
  assert.deepEqual(columns, COLUMNS[report.suite]);
  for (const { title, rows, columns } of report.tables) {
    assert.ok(rows.length > 0 || title.startsWith("Kernels"), `${title} is empty`);
    for (const row of rows) {
      assert.equal(row.length, columns.length, title);
      for (const cell of row) assert.ok(typeof cell === "string" || report.results[cell]);
    }
  }
  assert.doesNotMatch(toMarkdown(report), /NaN|Infinity|undefined/);
  assert.match(report.outputHash, /^[0-9a-f]{16}$/);
  assert.deepEqual(report.checks.filter((check) => !check.ok), []);
}

Deno.test("every suite runs on the adapter", async (t) => {
  using counter = new BufferCounter();
  const sizes = { device: "gpu", contextLength: 256, maxSequences: 20, kvTokens: 4096 } as const;
  const model = await loadModel(openGguf(MODEL), sizes);
  const cpu = await loadModel(openGguf(MODEL), { ...sizes, device: "cpu", maxSequences: 1 });
  const reports = new Map<string, Report>();
  let buffers = NaN;
  try {
    const target = await EngineTarget.open(model, PROGRAM);
    const prompt = model.tokenizer.encode("The old king had a garden");
    for (const suite of SUITES) {
      const { name } = suite;
      if (name === "paged-cache") continue; // Below: its long prompts take this model too long.
      await t.step(`${name}: all columns, every number finite, nothing failed`, async () => {
        const report = await Harness.run(suite, target, {
          run: { ...RUN, ...LESS[name] },
          save: ({ tables: [memory] }) => {
            if (memory?.rows.at(-1)?.[0] === "Total device memory") buffers = counter.bytes;
          },
          baseline: () => EngineTarget.open(cpu, PROGRAM),
          ...(name === "latency" && { verify: () => verifyByReference(model, target, { prompt }) }),
        });
        reports.set(name, report);
        assertWhole(report);
        const { agree, of } = await recompute(JSON.stringify(report));
        assert.ok(agree >= 5 && agree <= of, `${agree} of ${of} figures`);
      });
    }

    await t.step("scenarios: those that fit the context run here and on the CPU", () => {
      const [own, , , both] = reports.get("scenarios")!.tables;
      assert.deepEqual(own!.rows.map(([id]) => id), ["S1", "S2"]);
      assert.ok(own!.notes.some((line) => line.includes("S3, S4, S5, S6")));
      assert.deepEqual(
        both!.rows.map(([id]) => id),
        ["S1 cpu", "S1 ratio", "S2 cpu", "S2 ratio"],
      );
    });

    await t.step("memory: figures are exact to the byte", () => {
      const report = reports.get("memory")!;
      const { layers, kvHeads, headDim } = report.environment.model;
      const memory = (purpose: string) => numberOf(report, "device_memory", { purpose });
      assert.equal(numberOf(report, "kv_bytes_per_token"), 2 * layers * kvHeads * headDim * 2);
      assert.equal(memory("total"), buffers);
      const blockBytes = 16 * numberOf(report, "kv_bytes_per_token");
      assert.equal(memory("KV cache") % blockBytes, 0);
      const { tensorBytes } = report.environment.model;
      assert.ok(memory("weights") <= 1.02 * tensorBytes);
      // The tokens of a sequence need their blocks, the last one partly used, and the step in
      // flight may need one more.
      for (const sequences of [1, 2, 4, 8]) {
        const blocks = numberOf(report, "kv_cache", { sequences }) / blockBytes;
        const full = numberOf(report, "cached_tokens", { sequences }) / 16;
        assert.ok(blocks >= full, "fewer blocks than tokens");
        assert.ok(blocks <= full + 2 * sequences, "blocks to spare");
      }
    });

    await t.step("memory: equal prefixes are stored once", () => {
      const savings = valuesOf(reports.get("memory")!, "memory_savings");
      assert.equal(savings.length, 3);
      for (const percent of savings) assert.ok(percent > 20, String(percent));
    });

    await t.step("breakdown: shares of phases sum to 100 %, and so do those of kernels", () => {
      const report = reports.get("breakdown")!;
      assert.ok(Math.abs(sumOf(valuesOf(report, "operation_share")) - 100) <= 1e-6);
      // 100 % for decode steps, and 100 % for the prompt.
      const kernels = valuesOf(report, "kernel_share");
      if (target.hasTimestamps) assert.ok(Math.abs(sumOf(kernels) - 200) <= 1e-6);
    });

    await t.step("kernels: each selected one is correct, and timed for 1 to 8 tokens", () => {
      const report = reports.get("kernels")!;
      const [verified] = report.tables;
      assert.deepEqual(
        verified!.rows.map(([name, , , status]) => `${name} ${status}`),
        [
          "matmul Q8_0",
          "embed Q8_0",
          "rope_append f16",
          "rope_append f32",
          "attention f16",
          "attention f32",
          "top_k",
          "experts",
          "combine",
          "sampling",
        ].map((name) => `${name} ok`),
      );
      const times = valuesOf(report, "kernel_call_time");
      assert.equal(times.length, 8 * 10);
      assert.ok(times.every((time) => time > 0));
      for (const requests of [1, 2]) resultOf(report, "decode_throughput", { requests });
    });

    await t.step("the signal ends requests that are being served", async () => {
      const controller = new AbortController();
      const cut = await EngineTarget.open(model, PROGRAM, controller.signal);
      const serve = (target: EngineTarget) =>
        target.withSession({}, (s) => s.serve([{ promptIds: prompt, maxTokens: 200 }]));
      let steps = 0;
      const { submit } = model.runner;
      {
        using stack = new DisposableStack();
        stack.defer(() => model.runner.submit = submit);
        model.runner.submit = (batch) => {
          if (++steps === 3) controller.abort(new Error("Interrupted"));
          return submit.call(model.runner, batch);
        };
        await assert.rejects(serve(cut), /Interrupted/);
      }
      assert.ok(steps < 10, `${steps} steps`);
      const complete = await serve(target);
      assert.equal(complete.requests[0]!.ids.length, 200);
    });

    await t.step("detokenizer: streaming gives the same text", () => {
      const report = reports.get("detokenizer")!;
      assert.ok(report.tables[0]!.notes.includes("identical: yes"));
    });
  } finally {
    await model.close();
    await cpu.close();
  }
});

Deno.test("paged-cache counts blocks and tokens as computed by hand", async () => {
  // The 286 common tokens fill 17 blocks; 18 · 16 = 288 of each prompt's 296 tokens are in full
  // blocks. 296 + 4 − 1 tokens enter the cache, so a request needs 19 blocks. The first request
  // computes all of them. The 19 others find 17 and allocate 2: 19 + 19 · 2 = 57 blocks,
  // 19 · 17 = 323 hits, 323 · 16 = 5168 tokens.
  const sizes = { device: "gpu", contextLength: 320, maxSequences: 20, kvTokens: 8192 } as const;
  const model = await loadModel(openGguf(TINY), sizes);
  try {
    const target = await EngineTarget.open(model, PROGRAM);
    const run = { ...RUN, maxTokens: 4, repetitions: 1 };
    const report = await Harness.run(pagedCache, target, { run });
    assertWhole(report);
    const [modes, saved] = report.tables;
    assert.equal(modes!.rows.length, 4);
    const counts = [
      "blocks_allocated",
      "blocks_shared",
      "block_hits",
      "tokens_saved",
      "request_hits",
    ];
    for (const arrival of ["sequential", "concurrent"]) {
      const settings = { cache: "paged cache", arrival };
      const values = counts.map((metric) => numberOf(report, metric, settings));
      assert.deepEqual(values, [57, 17, 323, 5168, 19]);
    }
    assert.ok(saved!.notes.includes("Same tokens in all modes: yes"));
  } finally {
    await model.close();
  }
});

Deno.test("chained steps are counted one by one", async () => {
  const sizes = { device: "gpu", contextLength: 128, maxSequences: 2, steps: 4 } as const;
  const model = await loadModel(openGguf(TINY), sizes);
  try {
    const target = await EngineTarget.open(model, PROGRAM);
    const run = { ...RUN, maxTokens: 17 };
    const prompts = makePrompts(target.text, { count: 2, tokens: 16, seed: 0 });
    const serving = await target.withSession(
      {},
      (session) => session.serve(prompts.map((promptIds) => ({ promptIds, maxTokens: 17 }))),
    );
    const { requests, steps } = serving;
    // The prompt's step gives the first of 17 tokens, and four chains of four steps the others.
    assert.deepEqual(requests.map(({ ids }) => ids.length), [17, 17]);
    assert.deepEqual(steps.map(({ chained }) => chained), [1, 4, 4, 4, 4]);
    const [begin, ...reads] = steps.map(({ readEnd }) => readEnd);
    const gaps = reads.map((read, i) => (read - [begin!, ...reads][i]!) / 4);
    assert.deepEqual(decodeStepTimes(serving, 2), gaps);
    const report = await Harness.run(breakdown, target, { run });
    assertWhole(report);
    // Six for each of two layers, the embedding, the head, and two for sampling.
    if (target.hasTimestamps) assert.equal(numberOf(report, "dispatches_per_token"), 16);
  } finally {
    await model.close();
  }
});
