/** Every suite on the real adapter with the built-in model, short: what must hold of any report. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { loadModel, openGguf } from "../../engine/mod.ts";
import { EngineTarget } from "../../bench/targets/engine_target.ts";
import { Bench } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import {
  type Cell,
  type Report,
  reportSchema,
  type RunOptions,
} from "../../bench/report/report.ts";
import { makePrompts } from "../../bench/harness/prompts.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { decodeStepTimes } from "../../bench/harness/timings.ts";
import { verifyOnCpu } from "../../bench/harness/verify.ts";

const [MODEL, TINY] = ["builtin.gguf", "models/tiny-llama-q8_0.gguf"].map((name) =>
  fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url))
) as [string, string];

const PROGRAM = { tvllm: "test", kvType: "f16", startup: 1 } as const;

const RUN: RunOptions = {
  // Whole blocks, so that a cached prompt needs its last block copied.
  promptTokens: 32,
  maxTokens: 6,
  prompts: 2,
  warmup: 1,
  repetitions: 3,
  concurrency: [1, 2],
  seed: 0,
  date: new Date().toISOString(),
};

/** The tables that people compare: titles, and columns to the letter. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  throughput: [
    "Benchmark | Tokens/sec | Utilization",
    "Context Length | Tokens | Time (s) | Tok/sec",
    "Requests | Total Tokens | Total Time (s) | Throughput (tok/s) | Requests/sec | Speedup",
  ],
  latency: [
    "Metric | Value",
    "Prompt | Tokens | TTFT (ms) | TPOT (ms) | tok/s",
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
  scalability: ["Requests | Tok/sec | Efficiency"],
  breakdown: [
    "Operation | Median (ms) | % of Total",
    "Kernel | Calls | Total (ms) | % | GFLOPS | GB/s | % of limit",
    "Overhead | Value",
  ],
  detokenizer: [
    "Sequence | Tokens | decode() | Streaming | Speedup",
    "What | Time",
    "Metric | Naive decode() | Streaming (new instance) | Streaming (pooled)",
  ],
  "prefix-cache": [
    "Test | Expected | Actual | Time | Status",
    "Cache Hits | Cache Misses | Hit Rate | Tokens Saved | Cached Speedup",
  ],
  "paged-cache": [
    "Mode | Time (s) | Throughput (tok/s)",
    "Speedup | Blocks Allocated | Shared Blocks | Cache Hits | Tokens Saved",
  ],
  scenarios: [
    "ID | Prompt | Decode | TTFT (ms) | Decode TPS | Prefill TPS",
    "Metric | Value",
    "ID | Prompt | Decode | TTFT (ms) | Decode TPS | Prefill TPS",
  ],
  kernels: [
    "Kernel | Error | Tolerance | Status",
    "Kernel | Shape | Tokens | Time (µs) | GFLOPS | GB/s | % of limit | Time vs 1 token | Gain",
    "Requests | Decode tok/s | Speedup | Matrix products of a step (ms) | Speedup they allow | Reached",
  ],
};

/** What suites measure less of, so that the test is quick. */
const LESS: Readonly<Record<string, Partial<RunOptions>>> = {
  scenarios: { warmup: 0, repetitions: 2 },
  kernels: { only: "q8_0,attention,head_norm,top_k,experts,combine,sampling", shape: "64x96" },
};

/** Bytes of the GPU buffers that were made and not destroyed while it is in use. */
class BufferCounter implements Disposable {
  readonly live = new Map<GPUBuffer, number>();
  readonly #create = GPUDevice.prototype.createBuffer;
  readonly #destroy = GPUBuffer.prototype.destroy;

  constructor() {
    const { live } = this;
    const [create, destroy] = [this.#create, this.#destroy];
    GPUDevice.prototype.createBuffer = function (descriptor) {
      const buffer = create.call(this, descriptor);
      live.set(buffer, buffer.size);
      return buffer;
    };
    GPUBuffer.prototype.destroy = function () {
      live.delete(this);
      return destroy.call(this);
    };
  }

  get bytes(): number {
    return [...this.live.values()].reduce((a, b) => a + b, 0);
  }

  [Symbol.dispose](): void {
    GPUDevice.prototype.createBuffer = this.#create;
    GPUBuffer.prototype.destroy = this.#destroy;
  }
}

function numberOf(cell: Cell | undefined): number {
  assert.ok(typeof cell === "object", `not a number: ${cell}`);
  return cell.value;
}

/** The value in the row of a "Metric | Value" table. */
function metric(report: Report, table: number, name: string): number {
  return numberOf(report.tables[table]!.rows.find(([cell]) => cell === name)?.[1]);
}

/** What must hold of the report of any suite. */
function assertWhole(report: Report): void {
  reportSchema.parse(report);
  assert.ok(report.complete);
  const columns = report.tables.map((table) => table.columns.map((c) => c.title).join(" | "));
  assert.deepEqual(columns, COLUMNS[report.suite]);
  for (const { title, rows, columns } of report.tables) {
    assert.ok(rows.length > 0 || title.startsWith("Kernels"), `${title} is empty`);
    for (const row of rows) assert.equal(row.length, columns.length, title);
  }
  assert.doesNotMatch(toMarkdown(report), /NaN|Infinity|undefined/);
  assert.match(report.outputHash, /^[0-9a-f]{16}$/);
  // A busy machine may measure too low a limit; that is no fault of what is tested here.
  const failed = report.checks.filter((c) => !c.ok && c.name !== "within the limits");
  assert.deepEqual(failed, []);
}

Deno.test("every suite runs on the adapter", async (t) => {
  using counter = new BufferCounter();
  const sizes = { contextLength: 256, maxSequences: 20, kvTokens: 4096 };
  const model = await loadModel(openGguf(MODEL), sizes);
  const cpu = await loadModel(openGguf(MODEL), { ...sizes, device: "cpu", maxSequences: 1 });
  const reports = new Map<string, Report>();
  let buffers = NaN;
  try {
    const target = new EngineTarget(model, PROGRAM);
    const prompt = model.tokenizer.encode("The old king had a garden");
    for (const [name, suite] of Object.entries(SUITES)) {
      if (name === "paged-cache") continue; // Below: twenty long prompts take this model too long.
      await t.step(`${name}: all columns, every number finite, nothing failed`, async () => {
        const report = await Bench.run(name, suite, target, { ...RUN, ...LESS[name] }, {
          save: ({ tables: [memory] }) => {
            if (memory?.rows.at(-1)?.[0] === "Total device memory") buffers = counter.bytes;
          },
          baseline: () => Promise.resolve(new EngineTarget(cpu, PROGRAM)),
          ...(name === "latency" && { verify: () => verifyOnCpu(model, target, prompt) }),
        });
        reports.set(name, report);
        assertWhole(report);
      });
    }

    await t.step("scenarios: those that fit, here and on the CPU", () => {
      const [own, , both] = reports.get("scenarios")!.tables;
      assert.deepEqual(own!.rows.map(([id]) => id), ["S1", "S2"]);
      assert.ok(own!.summary.some((line) => line.includes("S3, S4, S5, S6")));
      assert.deepEqual(
        both!.rows.map(([id]) => id),
        ["S1 cpu", "S1 ratio", "S2 cpu", "S2 ratio"],
      );
    });

    await t.step("memory: the identities hold to the byte", () => {
      const report = reports.get("memory")!;
      const { layers, kvHeads, headDim } = report.environment.model;
      assert.equal(metric(report, 0, "KV memory per token"), 2 * layers * kvHeads * headDim * 2);
      assert.equal(metric(report, 0, "Total device memory"), buffers);
      const blockBytes = 16 * metric(report, 0, "KV memory per token");
      assert.equal(metric(report, 0, "KV cache buffers") % blockBytes, 0);
      const { tensorBytes } = report.environment.model;
      assert.ok(metric(report, 0, "Model weights") <= 1.02 * tensorBytes);
      // Blocks in use are what the tokens need, and at most one more each for the step in flight.
      for (const [sequences, tokens, bytes] of report.tables[1]!.rows) {
        const blocks = numberOf(bytes) / blockBytes;
        assert.ok(blocks >= numberOf(tokens) / 16, "fewer blocks than tokens");
        assert.ok(blocks <= numberOf(tokens) / 16 + 2 * numberOf(sequences), "blocks to spare");
      }
    });

    await t.step("memory: equal prefixes are stored once", () => {
      const savings = reports.get("memory")!.tables[3]!.rows.map(([, cell]) => cell as string);
      assert.equal(savings.length, 3);
      for (const text of savings) assert.ok(parseFloat(text) > 20, text);
    });

    await t.step("breakdown: the phases are the whole, and so are the kernels", () => {
      const [phases, kernels] = reports.get("breakdown")!.tables;
      const sum = (rows: readonly Cell[][], column: number) =>
        rows.reduce((total, row) => total + numberOf(row[column]), 0);
      assert.ok(Math.abs(sum(phases!.rows, 2) - 100) <= 1);
      if (kernels!.rows.length > 0) assert.ok(Math.abs(sum(kernels!.rows, 3) - 100) <= 1);
    });

    await t.step("kernels: each that was named is right, and timed for 1 to 8 tokens", () => {
      const [verified, timed, batches] = reports.get("kernels")!.tables;
      assert.deepEqual(
        verified!.rows.map(([name, , , status]) => `${name} ${status}`),
        [
          "matmul Q8_0",
          "embed Q8_0",
          "head_norm",
          "attention f16",
          "attention f32",
          "top_k",
          "experts",
          "combine",
          "sampling",
        ].map((name) => `${name} ok`),
      );
      // Of sampling, three kernels.
      assert.equal(timed!.rows.length, 8 * (8 + 3));
      for (const row of timed!.rows) assert.ok(numberOf(row[3]) > 0, String(row[0]));
      assert.deepEqual(batches!.rows.map(([requests]) => numberOf(requests)), [1, 2]);
    });

    await t.step("what is being served is cut off by the signal", async () => {
      const controller = new AbortController();
      const cut = new EngineTarget(model, PROGRAM, controller.signal);
      const serving = cut.serve([{ promptIds: prompt, maxTokens: 200 }]);
      setTimeout(() => controller.abort(new Error("Interrupted")), 50);
      await assert.rejects(serving, /Interrupted/);
      const whole = await target.serve([{ promptIds: prompt, maxTokens: 200 }]);
      assert.equal(whole.requests[0]!.ids.length, 200);
    });

    await t.step("detokenizer: streaming is the faster way, and cheap to begin", () => {
      const report = reports.get("detokenizer")!;
      const [sequences, creation] = report.tables;
      assert.ok(sequences!.summary.includes("identical: yes"));
      const row = sequences!.rows.find(([name]) => name === "1K")!;
      assert.ok(numberOf(row[4]) > 1.5, "2.1 on a quiet machine");
      assert.ok(numberOf(creation!.rows[1]![1]) < 100, "an instance takes 0.1 ms");
    });
  } finally {
    await model.close();
    await cpu.close();
  }
});

Deno.test("paged-cache counts blocks and tokens as computed by hand", async () => {
  // 286 tokens in common are 17 full blocks, and 18 · 16 = 288 of each prompt's 296 are full blocks.
  // 296 + 4 − 1 tokens enter: 19 blocks a request. The first computes all of them, 19 others find 17
  // and take 2 of their own: 19 + 19 · 2 = 57 blocks, 19 · 17 = 323 hits, 323 · 16 = 5168 tokens.
  const sizes = { contextLength: 320, maxSequences: 20, kvTokens: 8192 };
  const model = await loadModel(openGguf(TINY), sizes);
  try {
    const target = new EngineTarget(model, PROGRAM);
    const run = { ...RUN, maxTokens: 4, repetitions: 1 };
    const report = await Bench.run("paged-cache", SUITES["paged-cache"]!, target, run);
    assertWhole(report);
    const [modes, saved] = report.tables;
    assert.equal(modes!.rows.length, 4);
    for (const row of saved!.rows) {
      assert.deepEqual(row.slice(1).map(numberOf), [57, 17, 323, 5168]);
    }
    assert.ok(saved!.summary.includes("Same tokens in all modes: yes"));
  } finally {
    await model.close();
  }
});

Deno.test("steps that the device chains are counted one by one", async () => {
  const sizes = { contextLength: 128, maxSequences: 2, engine: { steps: 4 } };
  const model = await loadModel(openGguf(TINY), sizes);
  try {
    const target = new EngineTarget(model, PROGRAM);
    const run = { ...RUN, maxTokens: 17 };
    const serving = await target.serve(
      makePrompts(target, 2, 16, 0).map((promptIds) => ({ promptIds, maxTokens: 17 })),
    );
    const { requests, steps } = serving;
    // Of 17 tokens the prompt's step gives the first, and four chains of four the others.
    assert.deepEqual(requests.map(({ ids }) => ids.length), [17, 17]);
    assert.deepEqual(steps.map(({ chained }) => chained), [1, 4, 4, 4, 4]);
    const [begin, ...reads] = steps.map(({ readEnd }) => readEnd);
    const gaps = reads.map((read, i) => (read - [begin!, ...reads][i]!) / 4);
    assert.deepEqual(decodeStepTimes(serving, 2), gaps);
    const report = await Bench.run("breakdown", SUITES.breakdown!, target, run);
    assertWhole(report);
    // Two layers of six, the embedding, the head, and two that choose.
    if (target.hasTimestamps) assert.equal(metric(report, 2, "Dispatches per token"), 16);
  } finally {
    await model.close();
  }
});
