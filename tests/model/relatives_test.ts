/** Llama's relatives: the goldens notice each feature, and files may omit keys. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import { atContext } from "../../engine/model/at_context.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { ropeTable } from "../../engine/model/rope.ts";
import { type TinyArchitecture, tinyModel } from "../../fixtures/tiny_models.ts";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { assertNoticed, withDense, withMixers, type Without, withRope } from "./features.ts";
import { configOf, float, uint } from "./tiny_config.ts";

const unscaled = { kind: "none" } as const;

/** Features of each architecture. Granite's scales are those of fixtures/tiny_models.ts. */
const FEATURES: Readonly<Partial<Record<TinyArchitecture, Without>>> = {
  smollm3: {
    "layers without RoPE": (c) => {
      const { rope } = attentionsOf(c.layers)[0]!;
      return withMixers(c, (mixer) => ({ ...mixer, rope }));
    },
  },
  granite: {
    "the scale of embeddings": (c) => ({ ...c, embeddingScale: c.embeddingScale / 3 }),
    "the scale of what layers add": (c) => ({
      ...c,
      embeddingScale: c.embeddingScale * 0.4,
      rmsEpsilon: c.rmsEpsilon * 0.4 ** 2,
    }),
    "the scale of attention": (c) =>
      withMixers(c, (mixer) => ({ ...mixer, scale: 1 / Math.sqrt(mixer.headDim) })),
    "the scale of logits": (c) => ({ ...c, logitScale: 1 }),
    "biases of queries, keys and values": (c) =>
      withMixers(c, (mixer) => ({ ...mixer, bias: false })),
    "the bias of what heads give": (c) => withMixers(c, ({ outputBias: _, ...mixer }) => mixer),
    "biases of the feed-forward network": (c) => withDense(c, { bias: false }),
  },
  mistral3: {
    "queries that grow": (c) => withMixers(c, ({ temperature: _, ...mixer }) => mixer),
    "YaRN": (c) => withRope(c, { scaling: unscaled }),
    "YaRN's multiplier of the logarithm": (c) => {
      const { scaling } = attentionsOf(c.layers)[0]!.rope;
      assert.equal(scaling.kind, "yarn");
      return withRope(c, { scaling: { ...scaling, attentionFactor: 1 } as typeof scaling });
    },
  },
  phi3: {
    "LongRoPE": (c) => withRope(c, { scaling: unscaled }),
    "its long factors": (c) => ({ ...c, layers: atContext(c, 32).layers }),
    "its magnitude": (c) => {
      const { scaling } = attentionsOf(c.layers)[0]!.rope;
      assert.equal(scaling.kind, "longrope");
      return withRope(c, { scaling: { ...scaling, attentionFactor: 1 } as typeof scaling });
    },
    "dimensions that do not rotate": (c) => {
      const { headDim } = attentionsOf(c.layers)[0]!;
      return withRope(c, { dims: headDim, scaling: unscaled });
    },
  },
};

for (const [architecture, without] of Object.entries(FEATURES)) {
  const name = architecture as TinyArchitecture;
  Deno.test(`tiny-${name}-f16 has a golden that notices each of its features`, () =>
    assertNoticed(
      `tiny-${name}-f16`,
      without,
      (read) => withFile("m.gguf", tinyModel(name, "F16"), read),
    ));

  Deno.test(`safetensors-${name}-f32 has a golden that notices each of its features`, () =>
    assertNoticed(
      `safetensors-${name}-f32`,
      name === "mistral3"
        ? { ...without, "windows": (c) => withMixers(c, ({ window: _, ...mixer }) => mixer) }
        : without,
      (read) => withFiles(tinySafetensors(name, "F32"), read),
    ));
}

/** Returns the config of a tiny safetensors model after changes of keys in config.json. */
function jsonConfigOf(
  architecture: TinyArchitecture,
  change: Readonly<Record<string, unknown>>,
): ModelConfig {
  const files = tinySafetensors(architecture, "BF16");
  const config = JSON.parse(String(files["config.json"]));
  files["config.json"] = JSON.stringify({ ...config, ...change });
  return withFiles(files, (directory) => {
    const file = openModelFile(directory);
    try {
      return readModel(file).config;
    } finally {
      file.close();
    }
  });
}

const windowsOf = ({ layers }: ModelConfig) => attentionsOf(layers).map(({ window }) => window);
const dimsOf = ({ layers }: ModelConfig) => attentionsOf(layers).map(({ rope }) => rope.dims);

Deno.test("readModel() reads the windows of Mistral, and of Phi-3 from both kinds of file", () => {
  const mistral = (change: Record<string, unknown>) =>
    windowsOf(jsonConfigOf("llama", { model_type: "mistral", ...change }));
  assert.deepEqual(mistral({ sliding_window: null }), [undefined, undefined]);
  assert.deepEqual(mistral({ sliding_window: 100 }), [100, 100]);
  // MistralConfig's default if the file has no such key.
  assert.deepEqual(mistral({ max_position_embeddings: 8192 }), [4096, 4096]);
  assert.deepEqual(mistral({ max_position_embeddings: 4096 }), [undefined, undefined]);
  const kinds = ["full_attention", "sliding_attention"];
  assert.deepEqual(
    windowsOf(jsonConfigOf("llama", {
      model_type: "ministral",
      sliding_window: 64,
      layer_types: kinds,
    })),
    [undefined, 64],
  );
  assert.throws(
    () => jsonConfigOf("llama", { model_type: "ministral", layer_types: ["full_attention"] }),
    /layer_types must list 2 layers/,
  );
  assert.deepEqual(windowsOf(jsonConfigOf("phi3", { sliding_window: 20 })), [20, 20]);
  const phi3 = (window: number) =>
    windowsOf(configOf("phi3", ({ metadata }) => {
      metadata.set("phi3.attention.sliding_window", uint(window));
    }));
  assert.deepEqual(phi3(20), [20, 20]);
  assert.deepEqual(phi3(0), [undefined, undefined]);
  assert.deepEqual(phi3(2048), [undefined, undefined]);
});

Deno.test("readModel() reads which of SmolLM3's layers use RoPE", () => {
  const rotated = (change: Record<string, unknown>) =>
    dimsOf(jsonConfigOf("smollm3", change)).map((dims) => dims > 0);
  assert.deepEqual(rotated({ no_rope_layers: null }), [true, true, true, false]);
  assert.deepEqual(
    rotated({ no_rope_layers: null, no_rope_layer_interval: 2 }),
    [true, false, true, false],
  );
  assert.deepEqual(rotated({ no_rope_layers: [0, 1, 1, 1] }), [false, true, true, true]);
  assert.throws(
    () => rotated({ no_rope_layers: [1, 0] }),
    /no_rope_layers has 2 layers, but num_hidden_layers is 4/,
  );
  const { base } = attentionsOf(jsonConfigOf("smollm3", { rope_theta: undefined }).layers)[0]!.rope;
  assert.equal(base, 2e6);
});

Deno.test("configFromGguf() reads omitted scales of Granite as no scale, and Granite without RoPE", () => {
  const config = configOf("granite", ({ metadata }) => {
    for (const key of ["embedding_scale", "residual_scale", "attention.scale"]) {
      metadata.delete(`granite.${key}`);
    }
    metadata.set("granite.logit_scale", float(4));
  });
  assert.deepEqual([config.embeddingScale, config.logitScale], [1, 0.25]);
  assert.equal(attentionsOf(config.layers)[0]!.scale, 1 / Math.sqrt(16));
  const unrotated = configOf("granite", ({ metadata }) => {
    metadata.set("granite.rope.scaling.finetuned", { type: "bool", value: false });
  });
  assert.deepEqual(dimsOf(unrotated), [0, 0]);
});

Deno.test("LongRoPE uses short factors up to the original context, and long ones beyond", () => {
  const first = (context: number) => {
    const { rope } = attentionsOf(atContext(configOf("phi3"), context).layers)[0]!;
    const { frequencies, magnitude } = ropeTable(rope);
    return [frequencies[2]!, magnitude];
  };
  const plain = 100 ** (-4 / 12);
  const magnitude = Math.fround(Math.sqrt(1 + Math.log(64) / Math.log(32)));
  assert.deepEqual(first(32), [plain / 1.5, magnitude]);
  assert.deepEqual(first(33), [plain / 3, magnitude]);
  const broken = () =>
    configOf("phi3", ({ tensors }) => {
      const at = tensors.findIndex(({ name }) => name === "rope_factors_short.weight");
      tensors.splice(at, 1);
    });
  assert.throws(broken, /LongRoPE needs a tensor 'rope_factors_short\.weight' of 6 numbers in F32/);
  assert.throws(
    () =>
      jsonConfigOf("phi3", { rope_scaling: { type: "su", short_factor: [1], long_factor: [1] } }),
    /'rope_scaling\.short_factor' has 1 numbers, not 12/,
  );
});

Deno.test("fused matrices are read as their parts", () => {
  withFile("m.gguf", tinyModel("phi3", "Q4_0"), (path) => {
    const file = openModelFile(path);
    const { weights } = readModel(file);
    const whole = file.tensors.get("blk.1.attn_qkv.weight")!;
    const bytes = new Uint8Array(whole.byteLength);
    file.read(whole, 0, bytes);
    let at = 0;
    for (const part of ["q", "k", "v"]) {
      const tensor = weights.tensors.get(`blk.1.attn_${part}.weight`)!;
      const own = new Uint8Array(tensor.byteLength);
      weights.read(tensor, 0, own);
      assert.deepEqual(own, bytes.subarray(at, at += own.length));
      assert.throws(() => weights.read(tensor, 1, own), RangeError);
    }
    assert.equal(at, bytes.length);
    file.close();
  });
});

/** Returns a safetensors file with `prefix` before the name of every tensor. */
function prefixed(file: Uint8Array, prefix: string): Uint8Array {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header: Record<string, unknown> = JSON.parse(
    new TextDecoder().decode(file.subarray(8, 8 + length)),
  );
  const renamed = Object.fromEntries(
    Object.entries(header).map(([name, entry]) => [
      name === "__metadata__" ? name : prefix + name,
      entry,
    ]),
  );
  const text = new TextEncoder().encode(JSON.stringify(renamed));
  const out = new Uint8Array(8 + text.length + file.length - 8 - length);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  out.set(file.subarray(8 + length), 8 + text.length);
  return out;
}

Deno.test("readModel() reads Ministral 3 from files with a vision tower's config", () => {
  const plain = tinySafetensors("mistral3", "BF16");
  const { model_type, ...text } = JSON.parse(String(plain["config.json"]));
  const wrapped = {
    ...plain,
    "config.json": JSON.stringify({
      model_type: "mistral3",
      text_config: { model_type, ...text },
      tie_word_embeddings: text.tie_word_embeddings,
    }),
    "model.safetensors": prefixed(plain["model.safetensors"] as Uint8Array, "language_model."),
  };
  const [expected, actual] = [plain, wrapped].map((files) =>
    withFiles(files, (directory) => {
      const file = openModelFile(directory);
      try {
        return readModel(file).config;
      } finally {
        file.close();
      }
    })
  );
  assert.deepEqual({ ...actual, name: "" }, { ...expected, name: "" });
});
