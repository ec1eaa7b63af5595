/** The serving engine on the device: a request's tokens do not depend on its schedule. */

import assert from "node:assert/strict";
import { DeviceError, ModelFormatError } from "../../engine/errors.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { Engine, type EngineOptions } from "../../engine/run/engine.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { type BatchSequence, GREEDY } from "../../engine/run/runner.ts";
import { changed } from "../reference/tiny_runner.ts";
import { withFile } from "../files/on_disk.ts";

const PATH = `${import.meta.dirname}/../../fixtures/models/tiny-llama-q8_0.gguf`;
const SEQUENCES = 12;

async function openRunner(path = PATH): Promise<GpuRunner> {
  const file = openGguf(path);
  try {
    const config = configFromGguf(file);
    const options = { contextLength: 512, blocks: [400], maxSequences: SEQUENCES };
    return await GpuRunner.load(await openGpu(), { file, config }, options);
  } finally {
    file.close();
  }
}

/** Returns `length` token ids that depend on `seed`. */
function text(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => (i * i + seed * (i + 3)) % 294);
}

function ask(promptIds: number[], maxTokens: number) {
  return { promptIds, maxTokens, sampling: GREEDY, stopIds: [] };
}

/** The largest difference of logits that rounding explains, relative to the largest logit. */
const ROUNDING = 1e-5;

Deno.test("a step is launched when the one before it is read, without delaying that read", async () => {
  const runner = await openRunner();
  const { queue } = runner.gpu.device;
  const submit = queue.submit.bind(queue);
  let launched = 0;
  queue.submit = (commands) => {
    launched++;
    submit(commands);
  };
  const at = (tokens: number[] | null, start: number) =>
    runner.submit({
      sequences: [{ slot: 0, tokens, start, blockTables: [[0]], sampling: GREEDY }],
    });
  const expected: number[] = [];
  for (let i = 0; i < 5; i++) {
    const { tokens } = await (i === 0 ? at([1, 2, 3], 0) : at(null, 2 + i)).read();
    expected.push(tokens[0]![0]!);
  }
  launched = 0;
  const steps = [at([1, 2, 3], 0), at(null, 3)];
  assert.equal(launched, 1);
  const read = async (i: number) => (await steps[i]!.read()).tokens[0]![0]!;
  const tokens = [await read(0)];
  assert.equal(launched, 2);
  // Recorded steps are launched before blocks are copied.
  steps.push(at(null, 4), at(null, 5));
  assert.equal(launched, 2);
  runner.copyBlocks([{ group: 0, from: 0, to: 1 }]);
  assert.equal(launched, 5);
  steps.push(at(null, 6));
  assert.equal(launched, 5);
  // Before a step can be read, all earlier steps must run.
  const last = await read(4);
  tokens.push(await read(1), await read(2), await read(3), last);
  assert.deepEqual(tokens, expected);
  assert.equal(runner.gpu.failure, undefined);
  runner.destroy();
});

Deno.test("returned logits do not include the sampler's adjustments", async () => {
  const runner = await openRunner();
  const sequence = { slot: 0, tokens: [5, 6, 7], start: 0, blockTables: [[0]] };
  const read = (more: Partial<BatchSequence>) =>
    runner.submit({ sequences: [{ ...sequence, ...more }] }).read();
  const plain = await read({ logits: "all" });
  const sampling = { ...GREEDY, repeatPenalty: 3, logitBias: new Map([[42, 30]]) };
  for (const logits of ["all", "last"] as const) {
    const adjusted = await read({ logits, sampling });
    assert.deepEqual(adjusted.tokens, [[42]]);
    assert.deepEqual(
      adjusted.logits[0],
      logits === "all" ? plain.logits[0] : [plain.logits[0]![2]],
    );
  }
  runner.destroy();
});

Deno.test("weights that make logits NaN or infinite are reported as damaged, however the logits are used", async () => {
  const damaged = changed(["output_norm.weight"], (_, i) => i % 2 ? 3e38 : -3e38);
  const runner = await withFile("model.gguf", damaged, openRunner);
  const sequence = { slot: 0, tokens: [5, 6, 7], start: 0, blockTables: [[0]] };
  const uses = [
    { sampling: GREEDY },
    { sampling: { ...GREEDY, temperature: 1 } },
    { logits: "all" as const },
  ];
  for (const use of uses) {
    await assert.rejects(
      runner.submit({ sequences: [{ ...sequence, ...use }] }).read(),
      (error) => {
        assert.ok(error instanceof ModelFormatError);
        assert.match(error.message, /^Cannot run tiny llama: .* not finite numbers; its weights/);
        return true;
      },
    );
  }
  runner.destroy();
});

Deno.test("a failed read is reported as a lost device, by later steps too, and blocks none of them", async () => {
  const runner = await openRunner();
  const { device } = runner.gpu;
  const submit = device.queue.submit.bind(device.queue);
  let launched = 0;
  device.queue.submit = (commands) => {
    launched++;
    submit(commands);
  };
  const sequence = { slot: 0, start: 0, blockTables: [[0]], sampling: GREEDY };
  const first = runner.submit({ sequences: [{ ...sequence, tokens: [1] }] });
  const second = runner.submit({ sequences: [{ ...sequence, tokens: null, start: 1 }] });
  device.destroy();
  const lost = (error: unknown) => {
    assert.ok(error instanceof DeviceError && error.kind === "lost", String(error));
    assert.match(error.message, /^Cannot read from .*: the device was lost/);
    return true;
  };
  await assert.rejects(first.read(), lost);
  assert.equal(launched, 2);
  await assert.rejects(second.read(), lost);
  assert.throws(() => runner.submit({ sequences: [{ ...sequence, tokens: [1] }] }), lost);
});

Deno.test("Engine on the device refuses a request that is too long for its runner, and serves others", async () => {
  const runner = await openRunner();
  const engine = new Engine(runner);
  assert.throws(() => engine.submit(ask(text(1, 520), 4)), /the context has room for 512/);
  assert.equal((await engine.generate([ask(text(1, 5), 4)]))[0]!.ids.length, 4);
  await engine.stop();
  runner.destroy();
});

Deno.test("a sequence's logits are the same in batches of 1 to 12, and for a prompt in any chunks", async () => {
  const runner = await openRunner();
  const prompt = (slot: number) => text(slot, 5);
  const at = (slot: number, start: number, tokens: number[]) => ({
    slot,
    start,
    tokens,
    blockTables: [[2 * slot, 2 * slot + 1]],
    logits: "last" as const,
  });
  const logits = async (sequences: ReturnType<typeof at>[]) =>
    (await runner.submit({ sequences }).read()).logits.map(([row]) => row!.slice());

  const decodes = Array.from({ length: SEQUENCES }, (_, slot) => at(slot, 5, text(slot + 20, 1)));
  const alone: Float32Array[] = [];
  for (const [slot, decode] of decodes.entries()) {
    await logits([at(slot, 0, prompt(slot))]);
    alone.push(...await logits([decode]));
  }
  // The number of tokens in a step determines the kernels. All of them sum in the same order (see
  // matmul.wgsl), so the bits are equal if the driver rounds each operation alike, as llvmpipe
  // does. Others may fuse operations in one kernel but not in another; ROUNDING bounds the effect.
  const exact = runner.device.description.includes("llvmpipe");
  const assertSame = (row: Float32Array, expected: Float32Array, what: string) => {
    const most = expected.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const error = row.reduce((max, v, i) => Math.max(max, Math.abs(v - expected[i]!)), 0) / most;
    assert.ok(error <= (exact ? 0 : ROUNDING), `${what}: ${error}`);
  };
  for (let count = 1; count <= SEQUENCES; count++) {
    const rows = await logits(decodes.slice(0, count));
    for (const [slot, row] of rows.entries()) assertSame(row, alone[slot]!, `${count} at once`);
    // In another order, among other sequences: the kernels are equal, and so are the bits on every
    // driver.
    const last = decodes.slice(-count).reverse();
    const others = await logits(last);
    for (const [i, { slot }] of last.entries()) {
      if (slot < count) assert.deepEqual(others[i], rows[slot], `slot ${slot} of ${count}`);
    }
  }
  const whole = text(3, 60);
  const [expected] = await logits([at(0, 0, whole.slice(0, 30))]);
  for (const chunk of [1, 2, 3, 7, 16]) {
    let row: Float32Array | undefined;
    for (let start = 0; start < 30; start += chunk) {
      [row] = await logits([at(1, start, whole.slice(start, Math.min(30, start + chunk)))]);
    }
    assertSame(row!, expected!, `chunks of ${chunk}`);
  }
  runner.destroy();
});

Deno.test("Engine on the device: greedy tokens are the same alone and under any schedule", async (t) => {
  const runner = await openRunner();
  const system = text(7, 37);
  const requests = [
    ask([...system, ...text(1, 20)], 24),
    ask([...system, ...text(2, 3)], 40),
    ask(text(3, 48), 16),
    ask([...system, ...text(1, 11)], 16), // All its blocks are hits if the first one is cached.
    ask(text(4, 1), 60),
    ask(text(3, 48), 5),
    ...[5, 6, 7].map((seed) => ask(text(seed, 9), 60)),
  ];
  const serve = async (options: EngineOptions, alone = false) => {
    const engine = new Engine(runner, options);
    const results = [];
    for (const batch of alone ? requests.map((request) => [request]) : [requests]) {
      results.push(...await engine.generate(batch));
    }
    await engine.stop();
    return { ids: results.map(({ ids }) => ids), stats: engine.stats };
  };
  const { ids: expected } = await serve({ prefixCacheBlocks: 0 }, true);
  assert.equal(new Set(expected.map(String)).size, requests.length, "they say different things");

  for (const prefixCacheBlocks of [0, Infinity]) {
    for (const maxBatchTokens of [5, 7, 64, Infinity]) {
      const options = { prefixCacheBlocks, maxBatchTokens };
      const cache = prefixCacheBlocks > 0;
      await t.step(`cache ${cache ? "on" : "off"}, steps of ${maxBatchTokens} tokens`, async () => {
        const together = await serve(options);
        assert.deepEqual(together.ids, expected);
        assert.equal(together.stats.preemptions, 0);
        assert.equal(together.stats.prefix.tokensSaved > 0, cache);
        // Five blocks have room for the longest request and little else.
        const tight = await serve({ ...options, maxBlocks: [5] });
        assert.deepEqual(tight.ids, expected);
        assert.ok(tight.stats.preemptions > 0);
      });
    }
  }
  await t.step("alone with a cache, and four steps chained on the device", async () => {
    assert.deepEqual((await serve({}, true)).ids, expected);
    assert.deepEqual((await serve({ steps: 4 })).ids, expected);
  });
  runner.destroy();
});

Deno.test("Engine on the device: 20 requests share a system prompt of 286 tokens, with the counts computed by hand", async () => {
  // 286 tokens fill 17 blocks (272 tokens). Each prompt of 296 has 18 full blocks. The first request
  // misses all 18; the 19 others find 17 and miss their own: 19 · 17 = 323 hits, 18 + 19 = 37
  // misses, and 19 · 272 = 5168 of 20 · 296 = 5920 prompt tokens are not computed.
  const runner = await openRunner();
  const system = text(9, 286);
  const requests = Array.from({ length: 20 }, (_, i) => ask([...system, i, ...text(i, 9)], 8));
  const serve = async (options: EngineOptions) => {
    const engine = new Engine(runner, options);
    const rounds = [
      ...await engine.generate(requests.slice(0, 10)),
      ...await engine.generate(requests.slice(10)),
    ];
    await engine.stop();
    return { ids: rounds.map(({ ids }) => ids), stats: engine.stats };
  };
  const without = await serve({ prefixCacheBlocks: 0 });
  const cached = await serve({});
  assert.deepEqual(cached.ids, without.ids);
  assert.deepEqual(cached.stats.prefix, {
    hits: 323,
    misses: 37,
    prefixHits: 19,
    tokensSaved: 5168,
    blocksShared: 17,
  });
  assert.equal(without.stats.prefillTokens, 5920);
  assert.equal(cached.stats.prefillTokens, 5920 - 5168);
  runner.destroy();
});

Deno.test("a step that recreates weights or buffers gives the same tokens, and leaks no memory", async () => {
  const file = openGguf(PATH);
  const gpu = await openGpu();
  const runner = await GpuRunner.load(gpu, { file, config: configFromGguf(file) }, {
    contextLength: 512,
    blocks: [40],
    maxSequences: 2,
  });
  const serve = async (keep: EngineOptions["keep"]) => {
    const engine = new Engine(runner, { prefixCacheBlocks: 0, ...(keep && { keep }) });
    const before = { uploaded: gpu.copied.toDevice, steps: engine.stats.steps };
    const [one, two] = await engine.generate([ask(text(1, 20), 6), ask(text(2, 9), 4)]);
    await engine.stop();
    const each = (gpu.copied.toDevice - before.uploaded) / engine.stats.steps;
    return { ids: [one!.ids, two!.ids], each };
  };
  const { ids, each } = await serve(undefined);
  const memory = { ...gpu.memory };
  const made: string[] = [];
  const create = gpu.device.createBuffer.bind(gpu.device);
  gpu.device.createBuffer = (descriptor) => {
    made.push(descriptor.label!);
    return create(descriptor);
  };
  const weights = await serve({ weights: false });
  assert.deepEqual(weights.ids, ids);
  assert.ok(weights.each > memory.weights * 0.9 + each, `${weights.each} bytes a step`);
  assert.ok(!made.includes("hidden"));
  const buffers = await serve({ buffers: false });
  assert.deepEqual(buffers.ids, ids);
  assert.ok(Math.abs(buffers.each - each) < each);
  // One buffer for each of six steps.
  assert.ok(made.filter((label) => label === "hidden").length >= 6);
  assert.deepEqual(gpu.memory, memory);
  runner.destroy();
  file.close();
});
