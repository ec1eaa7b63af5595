/** configFromGguf() reads what sound models say of themselves. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import type { GgufValue } from "../../engine/files/gguf_writer.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";
import { type Change, configOf, float, keys, text, uint, zeros } from "./tiny_config.ts";

Deno.test("configFromGguf() reads llama, qwen2 and qwen3", () => {
  const llama = configOf("llama");
  const expected: ModelConfig = {
    architecture: "llama",
    name: "tiny llama",
    dim: 96,
    layers: 2,
    heads: 6,
    kvHeads: 2,
    headDim: 16,
    ffnDim: 160,
    vocabSize: 294,
    contextLength: 2048,
    rmsEpsilon: Math.fround(1e-5),
    ropeBase: 1e4,
    ropeDims: 16,
    ropeLayout: "interleaved",
    ropeScaling: { kind: "none" },
    ropeFactors: false,
    qkvBias: false,
    queryKeyNorm: false,
    tiedOutput: false,
  };
  assert.deepEqual(llama, expected);
  const qwen = { ...expected, ropeBase: 1e6, ropeLayout: "half", tiedOutput: true } as const;
  assert.deepEqual(configOf("qwen2"), {
    ...qwen,
    architecture: "qwen2",
    name: "tiny qwen2",
    qkvBias: true,
  });
  assert.deepEqual(configOf("qwen3"), {
    ...qwen,
    architecture: "qwen3",
    name: "tiny qwen3",
    headDim: 32,
    ropeDims: 32,
    queryKeyNorm: true,
  });
});

Deno.test({
  name: "configFromGguf() reads a real model",
  ignore: realModelMissing(),
  fn: () => {
    const file = openGguf(REAL_MODEL);
    const { dim, layers, heads, kvHeads, headDim, vocabSize, tiedOutput } = configFromGguf(file);
    file.close();
    assert.deepEqual(
      { dim, layers, heads, kvHeads, headDim, vocabSize, tiedOutput },
      {
        dim: 576,
        layers: 30,
        heads: 9,
        kvHeads: 3,
        headDim: 64,
        vocabSize: 49152,
        tiedOutput: true,
      },
    );
  },
});

Deno.test("configFromGguf() knows what missing keys stand for", () => {
  const bare = configOf(
    "llama",
    keys({
      "attention.key_length": null,
      "attention.value_length": null,
      "rope.dimension_count": null,
      "rope.freq_base": null,
      "vocab_size": null,
      "general:name": null,
    }),
  );
  assert.deepEqual(bare, { ...configOf("llama"), name: "tiny.gguf" });
  const kv = zeros("x", [96, 96], "Q8_0");
  const full = configOf("llama", (parts) => {
    keys({ "attention.head_count_kv": null })(parts);
    for (const [i, { name }] of parts.tensors.entries()) {
      if (/attn_[kv]\.weight/.test(name)) parts.tensors[i] = { ...kv, name };
    }
  });
  assert.equal(full.kvHeads, 6);
});

Deno.test("configFromGguf() takes integers of any type", () => {
  const wide: GgufValue = { type: "uint64", value: 2n };
  assert.equal(configOf("llama", keys({ block_count: wide })).layers, 2);
  const signed: GgufValue = { type: "int32", value: 2 };
  assert.equal(configOf("llama", keys({ block_count: signed })).layers, 2);
});

Deno.test("configFromGguf() reads RoPE scaling, factors and llama's optional biases", () => {
  const linear = keys({ "rope.scaling.type": text("linear"), "rope.scaling.factor": float(4) });
  assert.deepEqual(configOf("llama", linear).ropeScaling, { kind: "linear", factor: 4 });
  const old = keys({ "rope.scale_linear": float(2) });
  assert.deepEqual(configOf("llama", old).ropeScaling, { kind: "linear", factor: 2 });
  const yarn = keys({
    "rope.scaling.type": text("yarn"),
    "rope.scaling.factor": float(4),
    "rope.scaling.original_context_length": uint(512),
  });
  assert.deepEqual(configOf("llama", yarn).ropeScaling, {
    kind: "yarn",
    factor: 4,
    originalContext: 512,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: 1,
  });
  const factors: Change = ({ tensors }) => {
    tensors.push(zeros("rope_freqs.weight", [8], "F32"));
  };
  assert.equal(configOf("llama", factors).ropeFactors, true);
  const biased: Change = ({ tensors }) => {
    for (const layer of [0, 1]) {
      tensors.push(zeros(`blk.${layer}.attn_q.bias`, [96], "F32"));
      tensors.push(zeros(`blk.${layer}.attn_k.bias`, [32], "F32"));
      tensors.push(zeros(`blk.${layer}.attn_v.bias`, [32], "F32"));
    }
  };
  assert.equal(configOf("llama", biased).qkvBias, true);
});
