/** configFromGguf() reads the configs of valid models. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import type { GgufValue } from "../../engine/files/gguf_writer.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import type { LayerSpec, ModelConfig } from "../../engine/model/config.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import type { RopeSpec } from "../../engine/model/rope.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";
import { type Change, configOf, float, keys, text, uint, zeros } from "./tiny_config.ts";

Deno.test("configFromGguf() reads llama, qwen2 and qwen3", () => {
  const rope: RopeSpec = {
    base: 1e4,
    dims: 16,
    layout: "interleaved",
    scaling: { kind: "none" },
    factors: false,
  };
  const layer: LayerSpec = {
    mixer: {
      kind: "attention",
      heads: 6,
      kvHeads: 2,
      headDim: 16,
      scale: 1 / 4,
      rope,
      headNorm: false,
      bias: false,
    },
    feedForward: { kind: "dense", width: 160, activation: "silu" },
    postNorms: false,
  };
  const expected: ModelConfig = {
    architecture: "llama",
    name: "tiny llama",
    dim: 96,
    vocabSize: 294,
    contextLength: 2048,
    rmsEpsilon: Math.fround(1e-5),
    embeddingScale: 1,
    logitScale: 1,
    tiedOutput: false,
    layers: [layer, layer],
  };
  assert.deepEqual(configOf("llama"), expected);
  const halves = { ...rope, base: 1e6, layout: "half" } as const;
  const qwen2 = { ...layer, mixer: { ...layer.mixer, rope: halves, bias: true } };
  assert.deepEqual(configOf("qwen2"), {
    ...expected,
    architecture: "qwen2",
    name: "tiny qwen2",
    tiedOutput: true,
    layers: [qwen2, qwen2],
  });
  const mixer = {
    ...layer.mixer,
    headDim: 32,
    scale: 1 / Math.sqrt(32),
    rope: { ...halves, dims: 32 },
    headNorm: true,
  };
  const qwen3 = { ...layer, mixer };
  assert.deepEqual(configOf("qwen3"), {
    ...expected,
    architecture: "qwen3",
    name: "tiny qwen3",
    tiedOutput: true,
    layers: [qwen3, qwen3],
  });
});

Deno.test({
  name: "configFromGguf() reads a real model",
  ignore: realModelMissing(),
  fn: () => {
    const file = openGguf(REAL_MODEL);
    const { dim, layers, vocabSize, tiedOutput } = configFromGguf(file);
    file.close();
    const { heads, kvHeads, headDim } = attentionsOf(layers)[0]!;
    assert.deepEqual(
      { dim, layers: layers.length, heads, kvHeads, headDim, vocabSize, tiedOutput },
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

Deno.test("configFromGguf() knows the defaults of missing keys", () => {
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
  assert.equal(attentionsOf(full.layers)[0]!.kvHeads, 6);
});

Deno.test("configFromGguf() accepts integers of any type", () => {
  const wide: GgufValue = { type: "uint64", value: 2n };
  assert.equal(configOf("llama", keys({ block_count: wide })).layers.length, 2);
  const signed: GgufValue = { type: "int32", value: 2 };
  assert.equal(configOf("llama", keys({ block_count: signed })).layers.length, 2);
});

Deno.test("configFromGguf() accepts the extra keys and other forms that llama.cpp accepts", () => {
  const plain = configOf("llama");
  const listed = (value: number[]) => ({ type: "array", of: "uint32", value }) as const;
  const changes = [
    keys({ vocab_size: uint(300) }),
    keys({ "attention.head_count": listed([6, 6]), "attention.head_count_kv": listed([2, 2]) }),
    keys({ "rope.freq_base": { type: "array", of: "float32", value: [10_000, 10_000] } }),
  ];
  for (const change of changes) assert.deepEqual(configOf("llama", change), plain);
});

const ropeOf = (change: Change) => attentionsOf(configOf("llama", change).layers)[0]!.rope;

Deno.test("configFromGguf() reads RoPE scaling, factors and llama's optional biases", () => {
  const linear = keys({ "rope.scaling.type": text("linear"), "rope.scaling.factor": float(4) });
  assert.deepEqual(ropeOf(linear).scaling, { kind: "linear", factor: 4 });
  const old = keys({ "rope.scale_linear": float(2) });
  assert.deepEqual(ropeOf(old).scaling, { kind: "linear", factor: 2 });
  // As in llama.cpp, a factor alone means linear scaling, the newer key takes precedence, and the
  // type "none" overrides both.
  const untyped = keys({ "rope.scaling.factor": float(4) });
  assert.deepEqual(ropeOf(untyped).scaling, { kind: "linear", factor: 4 });
  const both = keys({ "rope.scale_linear": float(2), "rope.scaling.factor": float(4) });
  assert.deepEqual(ropeOf(both).scaling, { kind: "linear", factor: 4 });
  const undone = keys({ "rope.scaling.type": text("none"), "rope.scaling.factor": float(4) });
  assert.deepEqual(ropeOf(undone).scaling, { kind: "none" });
  const short = ropeOf(keys({ "rope.scaling.type": text("yarn"), "rope.scale_linear": float(2) }));
  assert.deepEqual(short.scaling, {
    kind: "yarn",
    factor: 2,
    originalContext: configOf("llama").contextLength,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: 1,
  });
  // A missing factor, or 0, means no scaling.
  const zero = keys({ "rope.scaling.type": text("linear"), "rope.scaling.factor": float(0) });
  assert.deepEqual(ropeOf(zero).scaling, { kind: "linear", factor: 1 });
  const without = ropeOf(keys({ "rope.scaling.type": text("yarn") }));
  assert.deepEqual(without.scaling, { ...short.scaling, factor: 1 });
  const neutral = keys({
    "attention.causal": { type: "bool", value: true },
    "rope.scaling.attn_factor": float(1),
    logit_scale: float(1),
  });
  assert.deepEqual(configOf("llama", neutral), configOf("llama"));
  const yarn = keys({
    "rope.scaling.type": text("yarn"),
    "rope.scaling.factor": float(4),
    "rope.scaling.original_context_length": uint(512),
  });
  assert.deepEqual(ropeOf(yarn).scaling, {
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
  assert.equal(ropeOf(factors).factors, true);
  const biased: Change = ({ tensors }) => {
    for (const layer of [0, 1]) {
      tensors.push(zeros(`blk.${layer}.attn_q.bias`, [96], "F32"));
      tensors.push(zeros(`blk.${layer}.attn_k.bias`, [32], "F32"));
      tensors.push(zeros(`blk.${layer}.attn_v.bias`, [32], "F32"));
    }
  };
  assert.equal(attentionsOf(configOf("llama", biased).layers)[1]!.bias, true);
});
