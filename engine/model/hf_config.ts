/**
 * Builds a checked ModelConfig from the config.json and the tensor table of a safetensors model.
 */

import { join } from "node:path";
import { isObject, type JsonObject } from "../files/json.ts";
import type { ModelFile } from "../files/model_file.ts";
import { CONFIG } from "../files/model_texts.ts";
import { quote } from "../files/quote.ts";
import type { SafetensorsModel } from "../files/safetensors.ts";
import {
  type Architecture,
  architecturesOfType,
  configOf,
  MODEL_TYPES,
} from "./architectures/mod.ts";
import { checkWeights } from "./check_weights.ts";
import { type Activation, type ModelConfig, withUnknownKeys } from "./config.ts";
import { MAX_CONTEXT, MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_WIDTH } from "./config_bounds.ts";
import { splitFused } from "./fused_tensors.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { MetadataReader } from "./metadata_reader.ts";
import { type RopeScaling, yarnShare } from "./rope.ts";

/** Key of the text model's config within the config of a model with a vision tower. */
const TEXT = "text_config";

/** Switches that change the computation. tvllm only runs models that have them off. */
const OFF = ["use_sliding_window"] as const;
/** Like `OFF`, except for architectures with optional biases. */
const BIASES = ["attention_bias", "mlp_bias"] as const;

/** Keys that change the computation, with the value that changes nothing. */
const NEUTRAL: Readonly<Record<string, number | boolean>> = {
  "is_causal": true,
  "partial_rotary_factor": 1,
  "rope_parameters.partial_rotary_factor": 1,
  "rope_scaling.partial_rotary_factor": 1,
  "use_bidirectional_attention": false,
};

/**
 * Old checkpoints store RoPE's frequencies; if the output is tied, the embedding may occur twice.
 */
const IGNORED = /\.rotary_emb\.inv_freq$/;
const IGNORED_IF_TIED = /\.rotary_emb\.inv_freq$|^lm_head\.weight$/;

/**
 * Returns the config of an open safetensors model. The file then has all weights that the config
 * requires, with Hugging Face's names and the right shapes, and no others.
 *
 * @param weights the same file with its experts stacked
 * @throws {ModelFormatError} if config.json lacks a value, has one out of range, or contradicts the
 * tensors.
 * @throws {UnsupportedError} if tvllm does not support the architecture, or a variant of it that
 * config.json describes.
 */
export function configFromSafetensors(file: SafetensorsModel, weights: ModelFile): ModelConfig {
  const json = new MetadataReader(file, { path: join(file.directory, CONFIG), json: file.config });
  const text = isObject(file.config[TEXT]) ? json.under(`${TEXT}.`) : json;
  const config = configOf(readHyperparameters(json, text));
  checkActivation(text, config);
  const ignored = config.tiedOutput ? IGNORED_IF_TIED : IGNORED;
  const split = new MetadataReader(splitFused(weights, config, "hf"));
  checkWeights(split, config, { naming: "hf", ignored: (name) => ignored.test(name) });
  return withUnknownKeys(config, text.unseen(), HARMLESS);
}

/**
 * Keys of config.json that do not change the computation: for training, for other programs, for
 * tokens (engine/text reads those), and for features that are off or do not apply if no reader used
 * the key.
 */
const HARMLESS =
  /^(_name_or_path|model_type|architectures|auto_map|(bos|eos|pad|sep|cls|boi|eoi|image)_token_(id|index)|(torch_)?dtype|transformers(_version|\.js_config)|use_cache|cache_implementation|initializer_range|attention_dropout|hidden_(dropout|act)|resid_pdrop|pretraining_tp|max_window_layers|sliding_window|layer_types|quantization(_config)?|(output_)?router_\w+|output_(attentions|hidden_states)|return_dict|rope_theta|id2label|label2id|problem_type|task_specific_params|unsloth_\w+|chunk_size_feed_forward|finetuning_task|tokenizer_class|is_(encoder_)?decoder|mlp_only_layers|decoder_sparse_step|full_attention_interval|mamba_ssm_(cache_)?dtype|mtp_\w+|num_nextn_predict_layers|expand|chunk_size|norm_eps|num_logits_to_keep|rescale_prenorm_residual|residual_in_fp32|time_step_(floor|max|min)|use_mamba_kernels)$/;

/** Says that tvllm does not support a `model_type`. */
export function unknownModelType(type: string): string {
  return `model_type ${quote(type)} is not supported; the supported ones are ${
    MODEL_TYPES.join(", ")
  }`;
}

/** Source of the keys and of their defaults: transformers' configuration classes. */
function readHyperparameters(root: MetadataReader, json: MetadataReader): Hyperparameters {
  const name = root.text("model_type");
  const architecture = architecturesOfType(name).find(({ isOf }) => isOf?.(json) ?? true);
  if (architecture === undefined) throw root.unsupported(unknownModelType(name));
  checkVariants(root, json, architecture);
  const own = architecture.read?.(json);
  const alike = [own?.window, own?.windows, own?.deltaNet].every((kinds) => kinds === undefined);
  if (alike && json.has("layer_types")) {
    const other = json.texts("layer_types").find((kind) => kind !== "full_attention");
    if (other !== undefined) {
      throw json.unsupported(
        `layer_types contains ${quote(other)}; use a model with full attention in all layers`,
      );
    }
  }
  const dim = json.integer("hidden_size", [1, MAX_WIDTH]);
  const heads = json.integer("num_attention_heads", [1, MAX_HEADS]);
  const kvHeads = json.integer("num_key_value_heads", [1, MAX_HEADS], heads);
  const headDim = json.integer("head_dim", [2, MAX_HEAD_DIM], architecture.headDim ?? dim / heads);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0) {
    throw json.fault(
      `it has ${heads} heads of ${headDim} dimensions and ${kvHeads} key-value heads; the ` +
        `key-value heads must divide the heads, and the dimensions must be even; use another model`,
    );
  }
  const trained = json.integer("max_position_embeddings", [1, MAX_CONTEXT]);
  const ropeDims = rotatedDims(json, architecture, headDim);
  const scaling = readRopeScaling(json, trained, ropeDims);
  const optional = architecture.attentionBias === "optional";
  const biases = optional && json.flag("attention_bias", false);
  return {
    architecture: architecture.gguf,
    name: root.text("general.name"),
    dim,
    layers: json.integer("num_hidden_layers", [1, MAX_LAYERS]),
    heads,
    kvHeads,
    headDim,
    ffnDim: json.integer("intermediate_size", [1, MAX_WIDTH], own?.experts?.width),
    vocabSize: json.integer("vocab_size", [1, 2 ** 22]),
    // Qwen's configs add YaRN but state the context length without it.
    contextLength: scaling.kind === "yarn"
      ? Math.max(trained, Math.floor(scaling.factor * scaling.originalContext))
      : trained,
    rmsEpsilon: json.positive("rms_norm_eps", 1, 1e-6),
    rope: {
      base: json.positive(ropeKey(json, "rope_theta"), 1e12, architecture.hfRopeBase ?? 10_000),
      dims: ropeDims,
      layout: "half", // For llama too: only the conversion to GGUF permutes its rows.
      scaling,
      factors: false,
    },
    attentionBias: optional ? biases : architecture.attentionBias === true,
    outputBias: biases,
    ffnBias: optional && json.flag("mlp_bias", false),
    tiedOutput: json.flag(
      "tie_word_embeddings",
      root.flag("tie_word_embeddings", architecture.hfTied ?? false),
    ),
    ...own,
  };
}

/** Returns how many dimensions of a head RoPE rotates. Some architectures rotate only a part. */
function rotatedDims(
  json: MetadataReader,
  { obeys, hfPartialRotary = 1 }: Architecture,
  headDim: number,
): number {
  if (!obeys?.hf.includes("partial_rotary_factor")) return headDim;
  const key = ropeKey(json, "partial_rotary_factor");
  const dims = Math.floor(headDim * json.positive(key, 1, hfPartialRotary));
  if (dims % 2 === 0 && dims > 0) return dims;
  throw json.fault(
    `RoPE rotates ${dims} of ${headDim} dimensions, not an even number above 0; use another model`,
  );
}

function checkVariants(
  root: MetadataReader,
  json: MetadataReader,
  { attentionBias, obeys }: Architecture,
): void {
  for (const key of [...OFF, ...attentionBias === "optional" ? [] : BIASES]) {
    if (json.flag(key, false)) {
      throw json.unsupported(`key '${key}' is true; use a model without it`);
    }
  }
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    if (obeys?.hf.includes(key.split(".").at(-1)!)) continue;
    const value = typeof neutral === "number"
      ? json.positive(key, 1e6, neutral)
      : json.flag(key, neutral);
    if (value !== neutral) {
      throw json.unsupported(`key '${key}' is ${value}; use a model with ${neutral}`);
    }
  }
  checkRopeForm(json);
  // The file reader has already unpacked MLX's quantization, which `quantization` describes. mlx-lm
  // describes it a second time in `quantization_config`.
  const packed = root.has("quantization.bits")
    ? undefined
    : [...root.file.metadata.keys()].find((key) => key.startsWith("quantization"));
  if (packed !== undefined) {
    throw root.unsupported(
      `its weights are ${quantizedBy(root)} (key '${packed}'); use a BF16, GGUF or MLX version`,
    );
  }
}

const METHODS: Readonly<Record<string, string>> = {
  gptq: "GPTQ",
  awq: "AWQ",
  fp8: "FP8",
  fbgemm_fp8: "FP8",
  mxfp4: "MXFP4 in safetensors",
  modelopt: "ModelOpt (FP8 or NVFP4)",
  bitsandbytes: "bitsandbytes",
};

function quantizedBy(json: MetadataReader): string {
  const method = json.file.metadata.get("quantization_config.quant_method");
  if (typeof method !== "string") return "packed";
  return `quantized with ${METHODS[method] ?? quote(method)}`;
}

/**
 * Checks that RoPE's parameters are an object of plain values. Other forms, such as a string or a
 * table for each kind of layer, are not read, and ignoring them would compute a different model.
 */
function checkRopeForm(json: MetadataReader): void {
  const { config } = json.file as SafetensorsModel;
  const text = json.key("") === "" ? config : config[TEXT] as JsonObject;
  for (const name of ["rope_scaling", "rope_parameters"]) {
    const value = text[name] ?? null;
    if (value === null) continue;
    const plain = isObject(value) && !Object.values(value).some((inner) => isObject(inner));
    if (!plain) {
      throw json.unsupported(
        `key '${name}' is ${quote(JSON.stringify(value))}, not an object of plain values; ` +
          `use another model`,
      );
    }
  }
}

/** Names of the activations in transformers. */
export const HF_ACTIVATIONS = {
  silu: "silu",
  gelu: "gelu_pytorch_tanh",
  relu2: "relu2",
} as const;

function checkActivation(json: MetadataReader, { layers }: ModelConfig): void {
  const keys = ["hidden_activation", "mlp_hidden_act"];
  const key = keys.find((key) => json.has(key)) ?? "hidden_act";
  const expected = HF_ACTIVATIONS[activationOf(layers)];
  const stated = json.text(key, expected);
  if (stated !== expected) {
    throw json.unsupported(`key '${key}' is ${quote(stated)}; use a model with '${expected}'`);
  }
}

/** Returns the activation of the feed-forward networks, which is the same in all layers. */
export function activationOf(layers: ModelConfig["layers"]): Activation {
  return layers.find(({ feedForward }) => feedForward !== undefined)!.feedForward!.activation;
}

/**
 * Returns the key of a RoPE parameter: in rope_parameters (newer files), in rope_scaling (older
 * files), or at the top level.
 */
function ropeKey(json: MetadataReader, name: string): string {
  const places = [`rope_parameters.${name}`, `rope_scaling.${name}`];
  return places.find((key) => json.has(key)) ?? name;
}

/** Source: modeling_rope_utils.py of transformers. */
function readRopeScaling(json: MetadataReader, trained: number, dims: number): RopeScaling {
  const old = ropeKey(json, "type"); // "type" was the key before "rope_type".
  const kind = json.text(ropeKey(json, "rope_type"), json.has(old) ? json.text(old) : "default");
  const positive = (name: string, fallback?: number) =>
    json.positive(ropeKey(json, name), 1e6, fallback);
  const originalContext = () =>
    json.integer(ropeKey(json, "original_max_position_embeddings"), [1, MAX_CONTEXT], trained);
  // Phi-3's first files call LongRoPE "su" or "yarn".
  if (json.has(ropeKey(json, "long_factor"))) return readLongRope(json, trained, dims);
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
      const truncate = ropeKey(json, "truncate");
      if (!json.flag(truncate, true)) {
        throw json.unsupported(`key '${truncate}' is false with YaRN; use a model without it`);
      }
      const factor = positive("factor");
      const multiplier = (name: string) => json.between(ropeKey(json, name), [0, 1e6], 0);
      const [one, all] = [multiplier("mscale"), multiplier("mscale_all_dim")];
      // attention_factor replaces YaRN's own factor, while the field of the config multiplies it.
      const own = 1 + 0.1 * Math.log(factor);
      return {
        kind,
        factor,
        originalContext: originalContext(),
        betaFast: positive("beta_fast", 32),
        betaSlow: positive("beta_slow", 1),
        attentionFactor: json.has(ropeKey(json, "attention_factor"))
          ? positive("attention_factor") / own
          : one > 0 && all > 0
          ? yarnShare(factor, all, one)
          : 1,
      };
    }
    default:
      throw json.unsupported(
        `RoPE scaling ${
          quote(kind)
        } is not supported; the supported ones are linear, llama3, longrope, yarn`,
      );
  }
}

function readLongRope(json: MetadataReader, trained: number, dims: number): RopeScaling {
  const factors = (name: string) => {
    const key = ropeKey(json, name);
    const values = json.numbers(key, [1e-6, 1e6]);
    if (values.length === dims / 2) return values;
    throw json.fault(`'${key}' has ${values.length} numbers, not ${dims / 2}; use another model`);
  };
  const originalContext = json.integer(
    ropeKey(json, "original_max_position_embeddings"),
    [1, MAX_CONTEXT],
    trained,
  );
  const factor = json.positive(ropeKey(json, "factor"), 1e6, trained / originalContext);
  return {
    kind: "longrope",
    short: factors("short_factor"),
    long: factors("long_factor"),
    originalContext,
    context: trained,
    attentionFactor: json.positive(
      ropeKey(json, "attention_factor"),
      1e6,
      factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(originalContext)) : 1,
    ),
  };
}
