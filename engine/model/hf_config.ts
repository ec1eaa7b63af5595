/** A checked ModelConfig from the config.json and the tensor table of a model in safetensors. */

import { join } from "node:path";
import { isObject } from "../files/json.ts";
import type { ModelFile } from "../files/model_file.ts";
import { CONFIG } from "../files/model_texts.ts";
import { quote } from "../files/quote.ts";
import type { SafetensorsModel } from "../files/safetensors.ts";
import { ARCHITECTURES, configOf } from "./architectures/mod.ts";
import { checkWeights } from "./check_weights.ts";
import type { ModelConfig } from "./config.ts";
import { MAX_CONTEXT, MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_WIDTH } from "./config_bounds.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { MetadataReader } from "./metadata_reader.ts";
import type { RopeScaling } from "./rope.ts";

/** Switches that change what is computed; tvllm runs models that have them off. */
const OFF = ["attention_bias", "mlp_bias", "use_sliding_window"] as const;

/** Values that change what is computed, and what stands for their change of nothing. */
const NEUTRAL: Readonly<Record<string, number | boolean>> = {
  "is_causal": true,
  "partial_rotary_factor": 1,
  "rope_parameters.partial_rotary_factor": 1,
  "rope_scaling.partial_rotary_factor": 1,
  "use_bidirectional_attention": false,
};

/** Old checkpoints carry what follows from the config; tied ones may carry the embedding twice. */
const IGNORED = /\.rotary_emb\.inv_freq$/;
const IGNORED_IF_TIED = /\.rotary_emb\.inv_freq$|^lm_head\.weight$/;

/**
 * The config of an open model in safetensors. All weights that it calls for are there, under
 * Hugging Face's names and in the right shape, and no others.
 *
 * @param weights the same file with its experts stacked
 * @throws {ModelFormatError} if config.json lacks a value, has one out of range, or contradicts the
 * tensors.
 * @throws {UnsupportedError} if tvllm does not run this architecture or a variant that it states.
 */
export function configFromSafetensors(file: SafetensorsModel, weights: ModelFile): ModelConfig {
  const json = new MetadataReader(file, { path: join(file.directory, CONFIG), json: file.config });
  const config = configOf(readHyperparameters(json));
  checkActivation(json, config);
  const ignored = config.tiedOutput ? IGNORED_IF_TIED : IGNORED;
  checkWeights(new MetadataReader(weights), config, { naming: "hf", ignored });
  return config;
}

/** Source of the keys and of what a missing one stands for: transformers' configuration classes. */
function readHyperparameters(json: MetadataReader): Hyperparameters {
  const name = json.text("model_type");
  const architecture = ARCHITECTURES.find(({ modelType }) => modelType === name);
  if (architecture === undefined) {
    const known = ARCHITECTURES.map(({ modelType }) => modelType).join(", ");
    throw json.unsupported(`model_type ${quote(name)}; the supported ones are ${known}`);
  }
  checkVariants(json);
  const own = architecture.read?.(json);
  if (own?.window === undefined && json.has("layer_types")) {
    const other = json.texts("layer_types").find((kind) => kind !== "full_attention");
    if (other !== undefined) {
      throw json.unsupported(
        `layer_types ${quote(other)}; get a model whose layers see all tokens`,
      );
    }
  }
  const dim = json.integer("hidden_size", [1, MAX_WIDTH]);
  const heads = json.integer("num_attention_heads", [1, MAX_HEADS]);
  const kvHeads = json.integer("num_key_value_heads", [1, MAX_HEADS], heads);
  const headDim = json.integer("head_dim", [2, MAX_HEAD_DIM], architecture.headDim ?? dim / heads);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0) {
    throw json.fault(
      `it has ${heads} heads of ${headDim} dimensions and ${kvHeads} key-value heads, which ` +
        `must divide the heads, and the dimensions must be even; get another model`,
    );
  }
  const trained = json.integer("max_position_embeddings", [1, MAX_CONTEXT]);
  const scaling = readRopeScaling(json, trained);
  return {
    architecture: architecture.gguf,
    name: json.text("general.name"),
    dim,
    layers: json.integer("num_hidden_layers", [1, MAX_LAYERS]),
    heads,
    kvHeads,
    headDim,
    ffnDim: json.integer("intermediate_size", [1, MAX_WIDTH]),
    vocabSize: json.integer("vocab_size", [1, 2 ** 22]),
    // Qwen's YaRN is added to a config that states the length before it.
    contextLength: scaling.kind === "yarn"
      ? Math.max(trained, Math.floor(scaling.factor * scaling.originalContext))
      : trained,
    rmsEpsilon: json.positive("rms_norm_eps", 1, 1e-6),
    rope: {
      base: json.positive(ropeKey(json, "rope_theta"), 1e12, 10_000),
      dims: headDim,
      layout: "half", // llama too: only its GGUF conversion permutes rows.
      scaling,
      factors: false,
    },
    attentionBias: architecture.attentionBias === true,
    tiedOutput: json.flag("tie_word_embeddings", architecture.hfTied ?? false),
    ...own,
  };
}

function checkVariants(json: MetadataReader): void {
  for (const key of OFF) {
    if (json.flag(key, false)) throw json.unsupported(`${key}; get a model without it`);
  }
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    const value = typeof neutral === "number"
      ? json.positive(key, 1e6, neutral)
      : json.flag(key, neutral);
    if (value !== neutral) throw json.unsupported(`${key} ${value}; get a model with ${neutral}`);
  }
  checkRopeForm(json);
  // MLX's, in `quantization`, has been unpacked by the reader; mlx-lm states it a second time.
  const packed = json.has("quantization.bits")
    ? undefined
    : [...json.file.metadata.keys()].find((key) => key.startsWith("quantization"));
  if (packed !== undefined) {
    throw json.unsupported(
      `the packed weights that '${packed}' tells of; get the model in BF16, or as GGUF`,
    );
  }
}

/**
 * RoPE's values are an object of plain ones. Of other forms, a text or tables by kind of layer, none
 * is read, and passing over them would run another model.
 */
function checkRopeForm(json: MetadataReader): void {
  const { config } = json.file as SafetensorsModel;
  for (const name of ["rope_scaling", "rope_parameters"]) {
    const value = config[name] ?? null;
    if (value === null) continue;
    const plain = isObject(value) && !Object.values(value).some((inner) => isObject(inner));
    if (!plain) {
      throw json.unsupported(
        `${name} ${
          quote(JSON.stringify(value))
        }; get a model that has one object of plain values there`,
      );
    }
  }
}

/** What transformers calls the activations. */
export const HF_ACTIVATIONS = { silu: "silu", gelu: "gelu_pytorch_tanh" } as const;

function checkActivation(json: MetadataReader, { layers }: ModelConfig): void {
  const key = json.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  const expected = HF_ACTIVATIONS[layers[0]!.feedForward.activation];
  const stated = json.text(key, expected);
  if (stated !== expected) {
    throw json.unsupported(`${key} ${quote(stated)}; get a model with '${expected}'`);
  }
}

/** Where config.json has a value of RoPE: newer ones in rope_parameters, older in rope_scaling. */
function ropeKey(json: MetadataReader, name: string): string {
  const places = [`rope_parameters.${name}`, `rope_scaling.${name}`];
  return places.find((key) => json.has(key)) ?? name;
}

/** Source: modeling_rope_utils.py of transformers. */
function readRopeScaling(json: MetadataReader, trained: number): RopeScaling {
  const old = ropeKey(json, "type"); // "type" was the key before "rope_type".
  const kind = json.text(ropeKey(json, "rope_type"), json.has(old) ? json.text(old) : "default");
  const positive = (name: string, fallback?: number) =>
    json.positive(ropeKey(json, name), 1e6, fallback);
  const originalContext = () =>
    json.integer(ropeKey(json, "original_max_position_embeddings"), [1, MAX_CONTEXT], trained);
  switch (kind) {
    case "default":
      return { kind: "none" };
    case "linear":
      return { kind, factor: positive("factor") };
    case "llama3":
      return {
        kind,
        factor: positive("factor"),
        lowFrequencyFactor: positive("low_freq_factor"),
        highFrequencyFactor: positive("high_freq_factor"),
        originalContext: originalContext(),
      };
    case "yarn": {
      for (const name of ["mscale", "mscale_all_dim", "truncate"]) {
        const key = ropeKey(json, name);
        if (json.has(key)) throw json.unsupported(`YaRN with '${key}'; get a model without it`);
      }
      const factor = positive("factor");
      // Stated, it replaces YaRN's own; the config's field multiplies that.
      const own = 1 + 0.1 * Math.log(factor);
      return {
        kind,
        factor,
        originalContext: originalContext(),
        betaFast: positive("beta_fast", 32),
        betaSlow: positive("beta_slow", 1),
        attentionFactor: positive("attention_factor", own) / own,
      };
    }
    default:
      throw json.unsupported(
        `RoPE scaling ${quote(kind)}; the supported ones are linear, llama3, yarn`,
      );
  }
}
