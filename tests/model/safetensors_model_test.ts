/** Safetensors models: config, tokenizer and template of a directory, and what is refused. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ModelFormatError, ModelNotFoundError, UnsupportedError } from "../../engine/errors.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { loadModel } from "../../engine/mod.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { type TinyArchitecture, tinyModel } from "../../fixtures/tiny_models.ts";
import { type ModelDirectory, tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { withFile, withFiles } from "../files/on_disk.ts";

Deno.test("loadModel() loads a directory with tokenizer, template and end tokens, and answers", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "tvllm-files-" });
  for (const [name, content] of Object.entries(tinySafetensors("qwen3", "BF16"))) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    Deno.writeFileSync(join(directory, name), bytes);
  }
  const model = await loadModel(openModelFile(directory), { device: "cpu", contextLength: 64 });
  Deno.removeSync(directory, { recursive: true });
  const { tokenizer, engine } = model;
  assert.deepEqual([...tokenizer.eosIds].sort(), [0, 2]);
  assert.match(model.chatTemplate!, /^\{% for message in messages %\}\{\{ '<\|im_start\|>'/);
  const expected = withFile("tiny.gguf", tinyModel("qwen3", "F32"), (path) => {
    const gguf = openModelFile(path);
    const ids = modelTokenizer(gguf).encode("The hen and the ark");
    gguf.close();
    return ids;
  });
  const promptIds = tokenizer.encode("The hen and the ark");
  assert.deepEqual(promptIds, expected);
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 };
  const [answer] = await engine.generate([{ promptIds, sampling, maxTokens: 4, stopIds: [] }]);
  assert.equal(answer!.ids.length, 4);
  await model.close();
});

Deno.test("openModelFile() finds a directory by any of its files, and GGUF by its content", () => {
  withFiles(tinySafetensors("llama", "F16", 2), (directory) => {
    const names = [
      ".",
      "config.json",
      "model-2-of-2.safetensors",
      "model.safetensors.index.json",
    ];
    for (const name of names) {
      const file = openModelFile(join(directory, name));
      assert.equal(file.format, "safetensors", name);
      assert.equal(file.paths.length, 2, name);
      file.close();
    }
  });
  withFile("x.gguf", tinyModel("llama", "Q8_0"), (path) => {
    const file = openModelFile(path);
    assert.equal(file.format, "gguf");
    file.close();
  });
  assert.throws(() => openModelFile("/nowhere/at/all"), ModelNotFoundError);
});

/** Opens and reads a tiny model after changes of its config.json or of other files. */
function readChanged(
  config: Record<string, unknown>,
  change: (files: ModelDirectory) => void = () => {},
  architecture: TinyArchitecture = "llama",
) {
  const files = tinySafetensors(architecture, "F16");
  files["config.json"] = JSON.stringify({ ...JSON.parse(String(files["config.json"])), ...config });
  change(files);
  return withFiles(files, (directory) => {
    const file = openModelFile(directory);
    try {
      return { ...readModel(file), tokenizer: modelTokenizer(file), file };
    } finally {
      file.close();
    }
  });
}

Deno.test("readModel() reads RoPE scaling from older and newer forms of config.json", () => {
  const modelOf = (config: Record<string, unknown>) => {
    const { contextLength, layers } = readChanged(config).config;
    return { contextLength, ...attentionsOf(layers)[0]!.rope };
  };
  assert.deepEqual(
    modelOf({ rope_scaling: { type: "linear", factor: 2 } }).scaling,
    { kind: "linear", factor: 2 },
  );
  const yarn = modelOf({
    max_position_embeddings: 32768,
    rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 32768 },
  });
  assert.deepEqual(yarn.scaling, {
    kind: "yarn",
    factor: 4,
    originalContext: 32768,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: 1,
  });
  assert.equal(yarn.contextLength, 131072);
  const newer = modelOf({
    rope_theta: undefined,
    rope_scaling: undefined,
    rope_parameters: { rope_type: "default", rope_theta: 12345 },
  });
  assert.deepEqual(newer.scaling, { kind: "none" });
  assert.equal(newer.base, 12345);
  assert.equal(newer.layout, "half");
});

Deno.test("readModel() ignores tensors that nothing needs", () => {
  // The tiny qwen2 is untied, so tying its output makes its head superfluous.
  const { config } = readChanged({ tie_word_embeddings: true }, undefined, "qwen2");
  assert.equal(config.tiedOutput, true);
  assert.throws(() => readChanged({ tie_word_embeddings: false }), /'lm_head\.weight' is missing/);
});

type Refusal = typeof ModelFormatError | typeof UnsupportedError;

const FAULTS: Record<string, readonly [Record<string, unknown>, RegExp, Refusal]> = {
  "another architecture": [
    { model_type: "mamba" },
    /config\.json: model_type 'mamba' is not supported; the supported ones are llama, mistral, ministral, qwen2/,
    UnsupportedError,
  ],
  "no architecture": [{ model_type: null }, /'model_type' is missing/, ModelFormatError],
  "no layers": [{ num_hidden_layers: 0 }, /'num_hidden_layers' is 0, not/, ModelFormatError],
  "too many layers": [
    { num_hidden_layers: 3 },
    /'model\.layers\.2\.input_layernorm\.weight' is m/,
    ModelFormatError,
  ],
  "another width": [{ hidden_size: 64 }, /embed_tokens\.weight' has the shape/, ModelFormatError],
  "heads that do not divide": [{ num_key_value_heads: 3 }, /3 key-value heads/, ModelFormatError],
  "biases that are missing": [
    { attention_bias: true },
    /'model\.layers\.0\.self_attn\.q_proj\.bias' is missing/,
    ModelFormatError,
  ],
  "a flag that is text": [{ mlp_bias: "no" }, /'mlp_bias' is 'no', not true/, ModelFormatError],
  "another activation": [{ hidden_act: "gelu" }, /hidden_act' is 'gelu'/, UnsupportedError],
  "packed weights": [
    { quantization_config: { quant_method: "gptq" } },
    /its weights are quantized with GPTQ \(key 'quantization_config\.quant_method'\); use/,
    UnsupportedError,
  ],
  "weights of another method": [
    { quantization_config: { quant_method: "fp8" } },
    /its weights are quantized with FP8 \(key/,
    UnsupportedError,
  ],
  "another RoPE scaling": [
    { rope_scaling: { rope_type: "longrope" } },
    /scaling 'longrope'/,
    UnsupportedError,
  ],
  "RoPE scaling that is a text": [
    { rope_scaling: "linear" },
    /'rope_scaling' is '"linear"', not an object/,
    UnsupportedError,
  ],
  "RoPE tables by kind of layer": [
    { rope_parameters: { full_attention: { rope_theta: 1e6 } } },
    /'rope_parameters' is '\{"full_attention":\{"rope_theta":1000000\}\}', not an object/,
    UnsupportedError,
  ],
  "a part of each head rotated": [
    { partial_rotary_factor: 0.5 },
    /partial_rotary_factor' is 0\.5; use a model with 1/,
    UnsupportedError,
  ],
  "a part of each head rotated, in newer files": [
    { rope_parameters: { rope_type: "default", partial_rotary_factor: 0.25 } },
    /partial_rotary_factor' is 0\.25/,
    UnsupportedError,
  ],
  "attention to later tokens": [{ is_causal: false }, /is_causal' is false; use/, UnsupportedError],
  "layers with a window": [
    { layer_types: ["full_attention", "sliding_attention"] },
    /layer_types contains 'sliding_attention'/,
    UnsupportedError,
  ],
  "an object for a number": [
    { num_key_value_heads: { value: 1 } },
    /key 'num_key_value_heads' is '\{"value":1\}', which is not a valid value/,
    ModelFormatError,
  ],
  "an empty object for a number": [
    { rope_theta: {} },
    /key 'rope_theta' is '\{\}', which is not a valid value/,
    ModelFormatError,
  ],
  "a list of objects for a flag": [
    { tie_word_embeddings: [{}] },
    /key 'tie_word_embeddings' is '\[\{\}\]', which is not a valid value/,
    ModelFormatError,
  ],
  "a name with a dot for a key of an object": [
    { rope_scaling: { rope_type: "linear" }, "rope_scaling.factor": 2 },
    /key 'factor' is missing/,
    ModelFormatError,
  ],
  "RoPE scaling without its factor": [
    { rope_scaling: { rope_type: "linear" } },
    /'factor' is missing/,
    ModelFormatError,
  ],
};

for (const [name, [config, says, kind]] of Object.entries(FAULTS)) {
  Deno.test(`readModel() refuses: ${name}`, () => {
    assert.throws(() => readChanged(config), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, /^Cannot (use|run) \/.*: /);
      assert.match(error.message, says);
      return true;
    });
  });
}

Deno.test("modelTokenizer() reports faults of the text files beside the weights", () => {
  assert.throws(
    () => readChanged({}, (files) => delete files["tokenizer.json"]),
    (error) =>
      error instanceof ModelNotFoundError && /tokenizer\.json: there is/.test(error.message),
  );
  assert.throws(
    () => readChanged({}, (files) => files["generation_config.json"] = '{"eos_token_id":["2"]}'),
    /Cannot read the end tokens of .*: eos_token_id contains '"2"', which is not a whole number/,
  );
});

Deno.test("modelTokenizer() reads one end token or a list, first from generation_config.json", () => {
  const endsOf = (config: Record<string, unknown>, generation?: string) => {
    const { tokenizer } = readChanged(config, (files) => {
      delete files["generation_config.json"];
      if (generation !== undefined) files["generation_config.json"] = generation;
    });
    return [5, 6, 7].filter((id) => tokenizer.eosIds.has(id));
  };
  assert.deepEqual(endsOf({ eos_token_id: 5 }), [5]);
  assert.deepEqual(endsOf({ eos_token_id: [5, 7] }), [5, 7]);
  assert.deepEqual(endsOf({ eos_token_id: [5, 7] }, '{"eos_token_id": [6]}'), [6]);
  assert.deepEqual(endsOf({ eos_token_id: [5, 7] }, "{}"), [5, 7]);
});

Deno.test("openModelFile() prefers chat_template.jinja to the template of tokenizer_config.json", () => {
  const templateOf = (change: (files: ModelDirectory) => void) =>
    readChanged({}, change).file.metadata.get("tokenizer.chat_template");
  assert.equal(templateOf((files) => files["chat_template.jinja"] = "{{ 1 }}"), "{{ 1 }}");
  const several = [{ name: "tool_use", template: "a" }, { name: "default", template: "b" }];
  const config = JSON.stringify({ chat_template: several });
  assert.equal(templateOf((files) => files["tokenizer_config.json"] = config), "b");
  assert.equal(templateOf((files) => files["tokenizer_config.json"] = "{}"), undefined);
});
