/** A checked ModelConfig from the metadata and the tensor table of a GGUF file. */

import { basename } from "node:path";
import type { ModelFile } from "../files/model_file.ts";
import { quote } from "../files/quote.ts";
import { checkWeights } from "./check_weights.ts";
import type { ModelConfig, RopeScaling } from "./config.ts";
import { MAX_CONTEXT, MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_WIDTH } from "./config_bounds.ts";
import { expertsFromGguf } from "./expert_config.ts";
import { MetadataReader } from "./metadata_reader.ts";
import { ggufName } from "./weight_names.ts";

/** In what the architectures differ, as far as the config says it. */
interface Architecture {
  readonly ropeLayout: ModelConfig["ropeLayout"];
  /** Whether queries, keys and values have a bias; "optional": if the file has one. */
  readonly qkvBias: boolean | "optional";
  readonly queryKeyNorm: boolean;
  /** Every layer's feed-forward network is one of routed experts. */
  readonly experts?: true;
}

/** By `general.architecture`. llama.cpp permutes llama's query and key rows into interleaved pairs. */
const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map<string, Architecture>([
  ["llama", { ropeLayout: "interleaved", qkvBias: "optional", queryKeyNorm: false }],
  ["qwen2", { ropeLayout: "half", qkvBias: true, queryKeyNorm: false }],
  ["qwen3", { ropeLayout: "half", qkvBias: false, queryKeyNorm: true }],
  ["qwen3moe", { ropeLayout: "half", qkvBias: false, queryKeyNorm: true, experts: true }],
]);

/** Tensors that old conversions carry and nothing uses. */
const IGNORED = /^blk\.\d+\.attn_rot_embd(\.weight)?$/;

/**
 * The config of an open GGUF model. All weights that it calls for are there, in the right shape,
 * and no others.
 *
 * @throws {ModelFormatError} if metadata is missing, out of range, or contradicts the tensors.
 * @throws {UnsupportedError} if tvllm does not run this architecture or a variant that it states.
 */
export function configFromGguf(file: ModelFile): ModelConfig {
  const metadata = new MetadataReader(file);
  const config = readConfig(metadata);
  checkVocabulary(metadata, config);
  checkWeights(metadata, config, "name", IGNORED);
  return config;
}

function readConfig(metadata: MetadataReader): ModelConfig {
  const { file } = metadata;
  const name = metadata.text("general.architecture");
  const architecture = ARCHITECTURES.get(name);
  if (architecture === undefined) {
    throw metadata.unsupported(
      `architecture ${quote(name)}; the supported ones are ${[...ARCHITECTURES.keys()].join(", ")}`,
    );
  }
  const key = (rest: string) => `${name}.${rest}`;
  if (!architecture.experts && metadata.integer(key("expert_count"), 0, MAX_WIDTH, 0) > 0) {
    throw metadata.unsupported(`architecture ${name} with experts; get a dense model`);
  }
  const dim = metadata.integer(key("embedding_length"), 1, MAX_WIDTH);
  const heads = metadata.integer(key("attention.head_count"), 1, MAX_HEADS);
  const kvHeads = metadata.integer(key("attention.head_count_kv"), 1, MAX_HEADS, heads);
  if (heads % kvHeads !== 0) {
    throw metadata.fault(
      `key '${key("attention.head_count_kv")}' is ${kvHeads}, which does not divide the ` +
        `${heads} heads; the file is damaged or badly converted, get another`,
    );
  }
  const headDim = readHeadDim(metadata, key, dim, heads);
  const ropeDims = metadata.integer(key("rope.dimension_count"), 2, headDim, headDim);
  if (ropeDims % 2 !== 0) {
    throw metadata.fault(`key '${key("rope.dimension_count")}' is ${ropeDims}, which is odd`);
  }
  const { qkvBias, experts, ...traits } = architecture;
  return {
    architecture: name,
    name: metadata.text("general.name", basename(file.paths[0]!)),
    dim,
    layers: metadata.integer(key("block_count"), 1, MAX_LAYERS),
    heads,
    kvHeads,
    headDim,
    ffnDim: metadata.integer(key("feed_forward_length"), 1, MAX_WIDTH),
    vocabSize: file.tensors.get(ggufName("embedding"))?.shape[0] ?? 0,
    contextLength: metadata.integer(key("context_length"), 1, MAX_CONTEXT),
    rmsEpsilon: metadata.positive(key("attention.layer_norm_rms_epsilon"), 1),
    ropeBase: metadata.positive(key("rope.freq_base"), 1e12, 10_000),
    ropeDims,
    ropeScaling: readRopeScaling(metadata, key),
    ropeFactors: file.tensors.has(ggufName("ropeFactors")),
    qkvBias: qkvBias === "optional" ? file.tensors.has(ggufName("queryBias", 0)) : qkvBias,
    tiedOutput: !file.tensors.has(ggufName("output")),
    ...traits,
    ...(experts && { experts: expertsFromGguf(metadata, key) }),
  };
}

type Key = (rest: string) => string;

function readHeadDim(metadata: MetadataReader, key: Key, dim: number, heads: number): number {
  const stated = key("attention.key_length");
  if (!metadata.has(stated) && dim % heads !== 0) {
    throw metadata.fault(
      `key '${key("embedding_length")}' is ${dim}, which the ${heads} heads do not divide; ` +
        `the file is damaged or badly converted, get another`,
    );
  }
  const headDim = metadata.integer(stated, 1, MAX_HEAD_DIM, dim / heads);
  if (headDim % 2 !== 0) {
    throw metadata.fault(
      `the head size is ${headDim}, and RoPE turns pairs; ` +
        `the file is damaged or badly converted, get another`,
    );
  }
  const values = metadata.integer(key("attention.value_length"), 1, MAX_HEAD_DIM, headDim);
  if (values !== headDim) {
    throw metadata.unsupported(
      `values of ${values} dimensions with keys of ${headDim}; get a model with equal ones`,
    );
  }
  return headDim;
}

/** Source of the keys: llama.cpp's gguf-py constants; of YaRN's defaults: its llama-context.cpp. */
function readRopeScaling(metadata: MetadataReader, key: Key): RopeScaling {
  const factor = (fallback?: number) =>
    metadata.positive(key("rope.scaling.factor"), 1e6, fallback);
  const linear = metadata.has(key("rope.scale_linear"));
  const kind = metadata.text(key("rope.scaling.type"), linear ? "linear" : "none");
  switch (kind) {
    case "none":
      return { kind };
    case "linear":
      return {
        kind,
        factor: linear ? metadata.positive(key("rope.scale_linear"), 1e6) : factor(),
      };
    case "yarn":
      return {
        kind,
        factor: factor(),
        originalContext: metadata.integer(
          key("rope.scaling.original_context_length"),
          1,
          MAX_CONTEXT,
        ),
        betaFast: metadata.positive(key("rope.scaling.yarn_beta_fast"), 1e6, 32),
        betaSlow: metadata.positive(key("rope.scaling.yarn_beta_slow"), 1e6, 1),
        attentionFactor: metadata.positive(key("rope.scaling.attn_factor"), 1e6, 1),
      };
    default:
      throw metadata.unsupported(
        `RoPE scaling ${quote(kind)}; the supported ones are none, linear, yarn`,
      );
  }
}

/** The embedding, the token list and the stated size must be of one vocabulary. */
function checkVocabulary(metadata: MetadataReader, config: ModelConfig): void {
  const stated = `${config.architecture}.vocab_size`;
  const sizes: [string, number | undefined][] = [
    [`key '${stated}'`, metadata.has(stated) ? metadata.integer(stated, 1, 2 ** 31) : undefined],
    ["key 'tokenizer.ggml.tokens'", metadata.arrayLength("tokenizer.ggml.tokens")],
  ];
  if (!metadata.file.tensors.has(ggufName("embedding"))) return; // checkWeights says so.
  for (const [what, size] of sizes) {
    if (size !== undefined && size !== config.vocabSize) {
      throw metadata.fault(
        `${what} says ${size} tokens, and the embedding has ${config.vocabSize} rows; ` +
          `the file is damaged or badly converted, get another`,
      );
    }
  }
}
