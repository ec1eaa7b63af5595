/** Builds a checked ModelConfig from the metadata and the tensor table of a GGUF file. */

import { basename } from "node:path";
import type { ModelFile } from "../files/model_file.ts";
import { quote } from "../files/quote.ts";
import { type Architecture, ARCHITECTURES, configOf } from "./architectures/mod.ts";
import { checkWeights } from "./check_weights.ts";
import { type ModelConfig, withUnknownKeys } from "./config.ts";
import { MAX_CONTEXT, MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_WIDTH } from "./config_bounds.ts";
import { splitFused } from "./fused_tensors.ts";
import { companionKind } from "./file_kind.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { withLayerSizes } from "./layer_sizes.ts";
import { MetadataReader } from "./metadata_reader.ts";
import { type RopeScaling, yarnShare } from "./rope.ts";
import { ggufName } from "./weight_names.ts";
import { plural } from "../plural.ts";

/** Unused tensors in the files of old conversions, and the tensors that `readLongRope` reads. */
const IGNORED = /^(blk\.\d+\.attn_rot_embd(\.weight)?|rope_factors_(long|short)\.weight)$/;

/** Key for the number of last layers that draft tokens for the others. tvllm does not use them. */
const DRAFTS = "nextn_predict_layers";

/**
 * Returns the config of an open GGUF model. The file then has all weights that the config requires,
 * with the right shapes, and no others.
 *
 * @throws {ModelFormatError} if metadata is missing, out of range, or contradicts the tensors.
 * @throws {UnsupportedError} if tvllm does not support the architecture, or a variant of it that
 * the metadata describe.
 */
export function configFromGguf(file: ModelFile): ModelConfig {
  const metadata = new MetadataReader(file);
  const companion = companionKind(file.metadata);
  if (companion !== undefined) {
    throw metadata.unsupported(
      `it is ${companion}, not a language model; pass the file of the model itself`,
    );
  }
  const name = metadata.text("general.architecture");
  const architecture = ARCHITECTURES.find(({ gguf }) => gguf === name);
  if (architecture === undefined) {
    const known = ARCHITECTURES.map(({ gguf }) => gguf).join(", ");
    throw metadata.unsupported(
      `architecture ${quote(name)} is not supported; the supported ones are ${known}`,
    );
  }
  const h = readHyperparameters(metadata, architecture);
  const config = architecture.ownLayerSizes
    ? configOf(h)
    : withLayerSizes(configOf(h), metadata.under(`${name}.`));
  const layers = config.layers.length;
  checkVocabulary(metadata, config);
  const weights = new MetadataReader(splitFused(file, config, "gguf"));
  const drafts = metadata.under(`${name}.`).integer(DRAFTS, [0, MAX_LAYERS], 0);
  checkWeights(weights, config, {
    naming: "gguf",
    ignored: (name) => IGNORED.test(name) || isOfDrafts(name, { layers, drafts }),
  });
  // llama.cpp rejects such a file, or fails an assertion.
  if (h.rope.dims !== h.headDim && !architecture.partialRope) {
    throw metadata.unsupported(
      `key '${name}.rope.dimension_count' is ${h.rope.dims}, but a head has ${h.headDim} ` +
        `dimensions; use a model whose RoPE covers all of them`,
    );
  }
  return withUnknownKeys(config, metadata.under(`${name}.`).unseen(), HARMLESS);
}

function isOfDrafts(
  name: string,
  { layers, drafts }: { readonly layers: number; readonly drafts: number },
): boolean {
  const layer = Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
  return layer >= layers && layer < layers + drafts;
}

/** Keys below the architecture's prefix that change nothing if no reader has looked them up. */
const HARMLESS =
  /\.(rope\.(scaling\.(type|finetuned|factor|original_context_length|yarn_\w+)|scale_linear|dimension_sections)|vocab_size|tensor_data_layout|pooling_type)$/;

function readHyperparameters(root: MetadataReader, architecture: Architecture): Hyperparameters {
  const { file } = root;
  const { gguf: name, attentionBias } = architecture;
  const metadata = root.under(`${name}.`);
  checkVariants(metadata, architecture);
  const own = architecture.read?.(metadata);
  if (own?.experts === undefined) {
    if (metadata.integer("expert_count", [0, MAX_WIDTH], 0) > 0) {
      throw metadata.unsupported(
        `${name} models with experts are not supported; use a dense model`,
      );
    }
    metadata.integer("expert_used_count", [0, 0], 0); // llama.cpp aborts if it is above expert_count.
  }
  const dim = metadata.integer("embedding_length", [1, MAX_WIDTH]);
  const heads = metadata.first("attention.head_count", [1, MAX_HEADS]);
  const kvHeads = own?.kvHeads ?? metadata.first("attention.head_count_kv", [1, MAX_HEADS], heads);
  if (heads % kvHeads !== 0) {
    throw metadata.fault(
      `key '${metadata.key("attention.head_count_kv")}' is ${kvHeads}, which does not divide the ` +
        `${heads} heads; the file is damaged or was converted incorrectly: download or convert it again`,
    );
  }
  const headDim = readHeadDim(metadata, dim, heads);
  const ropeDims = metadata.integer("rope.dimension_count", [2, headDim], headDim);
  if (ropeDims % 2 !== 0) {
    throw metadata.fault(
      `key '${metadata.key("rope.dimension_count")}' is ${ropeDims}, which is odd; ` +
        `the file is damaged or was converted incorrectly: download or convert it again`,
    );
  }
  const optional = attentionBias === "optional";
  return {
    architecture: name,
    name: root.text("general.name", basename(file.paths[0]!)),
    dim,
    layers: metadata.integer("block_count", [1, MAX_LAYERS]) -
      metadata.integer(DRAFTS, [0, metadata.integer("block_count", [1, MAX_LAYERS]) - 1], 0),
    heads,
    kvHeads,
    headDim,
    ffnDim: own?.ffnDim ??
      metadata.first("feed_forward_length", [1, MAX_WIDTH], own?.experts?.width),
    vocabSize: file.tensors.get(ggufName("embedding"))?.shape[0] ?? 0,
    contextLength: metadata.integer("context_length", [1, MAX_CONTEXT]),
    rmsEpsilon: own?.rmsEpsilon ?? metadata.positive("attention.layer_norm_rms_epsilon", 1),
    rope: {
      base: metadata.positive("rope.freq_base", 1e12, 10_000),
      dims: ropeDims,
      layout: architecture.ggufRopeLayout,
      scaling: readRopeScaling(metadata, ropeDims),
      factors: file.tensors.has(ggufName("ropeFactors")),
    },
    attentionBias: optional
      ? [ggufName("queryBias", 0), "blk.0.attn_qkv.bias"].some((name) => file.tensors.has(name))
      : attentionBias,
    outputBias: optional && file.tensors.has(ggufName("attentionOutputBias", 0)),
    ffnBias: optional && file.tensors.has(ggufName("upBias", 0)),
    tiedOutput: !file.tensors.has(ggufName("output")),
    ...own,
  };
}

function readHeadDim(metadata: MetadataReader, dim: number, heads: number): number {
  if (!metadata.has("attention.key_length") && dim % heads !== 0) {
    throw metadata.fault(
      `key '${metadata.key("embedding_length")}' is ${dim}, not a multiple of the ${heads} ` +
        `heads; the file is damaged or was converted incorrectly: download or convert it again`,
    );
  }
  const headDim = metadata.integer("attention.key_length", [1, MAX_HEAD_DIM], dim / heads);
  if (headDim % 2 !== 0) {
    throw metadata.fault(
      `the head size is ${headDim}, but RoPE needs an even one; ` +
        `the file is damaged or was converted incorrectly: download or convert it again`,
    );
  }
  // As in llama.cpp, key_length does not change the default of value_length.
  const share = Math.floor(dim / heads);
  const values = metadata.integer("attention.value_length", [1, MAX_HEAD_DIM], share);
  if (values !== headDim) {
    throw metadata.unsupported(
      `its values have ${values} dimensions, but its keys have ${headDim}; ` +
        `use a model in which both have the same size`,
    );
  }
  return headDim;
}

/**
 * Keys that change the computation, with the value that changes nothing, which is also the default.
 * llama.cpp honours attention.causal for every architecture, and the other keys for some.
 */
const NEUTRAL: Readonly<Record<string, number | boolean>> = {
  "attention.causal": true,
  "attention.clamp_kqv": 0,
  "attention.max_alibi_bias": 0,
  "attention.scale": 0,
  "attn_logit_softcapping": 0,
  "embedding_scale": 1,
  "expert_shared_count": 0,
  "final_logit_softcapping": 0,
  "leading_dense_block_count": 0,
  "logit_scale": 1,
  "residual_scale": 1,
  "rope.scaling.yarn_attn_factor": 1,
  "rope.scaling.yarn_ext_factor": 1,
  "rope.scaling.yarn_log_multiplier": 0,
  "use_parallel_residual": false,
};

function checkVariants(metadata: MetadataReader, { obeys }: Architecture): void {
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    if (obeys?.gguf.includes(key)) continue;
    const value = metadata.value(key) ?? neutral;
    if (value !== neutral) {
      throw metadata.unsupported(
        `key '${metadata.key(key)}' is ${quote(String(value))}; use a model without it`,
      );
    }
  }
}

/**
 * Source of the keys: llama.cpp's gguf-py constants. Source of the defaults: load_hparams() in its
 * llama-model.cpp, and llama-context.cpp. By default the scaling is linear, and the newer key for
 * the factor takes precedence over the older one.
 */
function readRopeScaling(metadata: MetadataReader, dims: number): RopeScaling {
  if (metadata.file.tensors.has(LONG_FACTORS.long)) return readLongRope(metadata, dims);
  const factorKey = ["rope.scaling.factor", "rope.scale_linear"].find((key) => metadata.has(key));
  const kind = metadata.text(
    "rope.scaling.type",
    factorKey === undefined ? "none" : "linear",
  );
  const attentionFactor = metadata.positive("rope.scaling.attn_factor", 1e6, 1);
  if (attentionFactor !== 1 && kind !== "yarn") {
    throw metadata.unsupported(
      `key '${metadata.key("rope.scaling.attn_factor")}' is ${attentionFactor} without YaRN; ` +
        `use a model without it`,
    );
  }
  const factor = () => {
    // A factor that is missing or 0 scales nothing.
    const isStated = factorKey !== undefined &&
      metadata.file.metadata.get(metadata.key(factorKey)) !== 0;
    return isStated ? metadata.positive(factorKey, 1e6) : 1;
  };
  switch (kind) {
    case "none":
      return { kind };
    case "linear":
      return { kind, factor: factor() };
    case "yarn":
      return {
        kind,
        factor: factor(),
        originalContext: metadata.integer(
          "rope.scaling.original_context_length",
          [1, MAX_CONTEXT],
          metadata.integer("context_length", [1, MAX_CONTEXT]),
        ),
        betaFast: metadata.positive("rope.scaling.yarn_beta_fast", 1e6, 32),
        betaSlow: metadata.positive("rope.scaling.yarn_beta_slow", 1e6, 1),
        attentionFactor: attentionFactor * yarnShare(factor(), yarnMultiplier(metadata)),
      };
    default:
      throw metadata.unsupported(
        `RoPE scaling ${quote(kind)} is not supported; the supported ones are none, linear, yarn`,
      );
  }
}

function yarnMultiplier(metadata: MetadataReader): number {
  return metadata.between("rope.scaling.yarn_log_multiplier", [0, 1e6], 0);
}

/** Names of LongRoPE's factors. If they exist, llama.cpp uses them whatever the scaling type is. */
const LONG_FACTORS = { long: "rope_factors_long.weight", short: "rope_factors_short.weight" };

function readLongRope(metadata: MetadataReader, dims: number): RopeScaling {
  const { file } = metadata;
  const factors = (name: string): number[] => {
    const tensor = file.tensors.get(name);
    if (tensor?.type !== "F32" || String(tensor.shape) !== String([dims / 2])) {
      throw metadata.fault(
        `LongRoPE needs a tensor '${name}' of ${dims / 2} numbers in F32; ` +
          `the file is damaged or was converted incorrectly: download or convert it again`,
      );
    }
    const bytes = new Uint8Array(tensor.byteLength);
    file.read(tensor, 0, bytes);
    const values = [...new Float32Array(bytes.buffer)];
    if (values.every((value) => value > 0 && value < Infinity)) return values;
    throw metadata.fault(
      `tensor '${name}' has factors that are not finite numbers above 0; use another model`,
    );
  };
  const context = metadata.integer("context_length", [1, MAX_CONTEXT]);
  return {
    kind: "longrope",
    short: factors(LONG_FACTORS.short),
    long: factors(LONG_FACTORS.long),
    originalContext: metadata.integer(
      "rope.scaling.original_context_length",
      [1, MAX_CONTEXT],
      context,
    ),
    context,
    attentionFactor: metadata.positive("rope.scaling.attn_factor", 1e6, 1),
  };
}

/**
 * Checks that the embedding has as many rows as the token list has tokens, or if there is no list,
 * as vocab_size states. If there is a list, vocab_size is ignored, as in llama.cpp: some converters
 * do not update it when tokens are added.
 */
function checkVocabulary(metadata: MetadataReader, config: ModelConfig): void {
  if (!metadata.file.tensors.has(ggufName("embedding"))) return; // checkWeights reports it.
  const listed = metadata.arrayLength("tokenizer.ggml.tokens");
  const key = listed === undefined ? `${config.architecture}.vocab_size` : "tokenizer.ggml.tokens";
  const size = listed ?? (metadata.has(key) ? metadata.integer(key, [1, 2 ** 31]) : undefined);
  if (size !== undefined && size !== config.vocabSize) {
    throw metadata.fault(
      `key '${key}' specifies ${size} ${plural(size, "token")}, but the embedding has ` +
        `${config.vocabSize} ${
          plural(config.vocabSize, "row")
        }; the file is damaged or was converted incorrectly: download or convert it again`,
    );
  }
}
