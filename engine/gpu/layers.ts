/**
 * The decoder-only transformer that llama, qwen2, qwen3 and qwen3moe share: which weights go where,
 * and the order of a step. In what they differ, the config says (biases, per-head norms, RoPE's
 * layout, experts).
 */

import type { KvType } from "../../kernels/specs.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import { UnsupportedError } from "../errors.ts";
import type { ModelFile } from "../files/model_file.ts";
import { bufferOf, withMemoryCheck } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { Pipelines } from "./pipelines.ts";
import type { Scratch } from "./scratch.ts";
import { type Operation, OperationBuilder } from "./operations.ts";
import type { ModelConfig } from "../model/config.ts";
import type { DeviceMatrix } from "./matrix.ts";
import { expertFeedForward } from "./experts.ts";
import { KvCache } from "./kv_cache.ts";
import { ropeTable } from "../model/rope.ts";
import { ggufName, type LayerWeight } from "../model/weight_names.ts";
import { Weights } from "./weights.ts";

/** A model on the device: its operations in order, and the cache that they write. */
export interface Transformer {
  readonly operations: readonly Operation[];
  readonly cache: KvCache;
}

export interface LayersOptions {
  readonly kv: KvType;
  /** Blocks of the KV cache, and positions that RoPE is prepared for. */
  readonly blocks: number;
  readonly contextLength: number;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
}

/**
 * Lays out the step and uploads the weights, once there is room for all of them.
 *
 * @throws {UnsupportedError} if a dimension is not one that the kernels can do.
 * @throws {DeviceError} "out-of-memory" if it does not fit.
 */
export async function loadLayers(
  gpu: Gpu,
  pipelines: Pipelines,
  tuning: Tuning,
  scratch: Scratch,
  file: ModelFile,
  config: ModelConfig,
  options: LayersOptions,
): Promise<Transformer> {
  checkDimensions(config, file, tuning);
  const blocks = new OperationBuilder(pipelines, tuning, scratch, config, options.kv);
  const weights = new Weights(gpu, file, tuning.tile, options.progress);
  const transformer = await withMemoryCheck(
    gpu,
    `the weights of ${config.name}`,
    () => layOut(gpu, blocks, weights, options),
  );
  await withMemoryCheck(gpu, `the upload of ${config.name}`, () => weights.upload());
  return transformer;
}

// The buffers, and the operations in the order of a step; the weights are still to be uploaded.
function layOut(
  gpu: Gpu,
  blocks: OperationBuilder,
  weights: Weights,
  options: LayersOptions,
): Transformer {
  const { config, scratch } = blocks;
  const { dim, heads, kvHeads, headDim, vocabSize } = config;
  const queryDim = heads * headDim;
  const keyDim = kvHeads * headDim;
  const factors = config.ropeFactors ? weights.floats(ggufName("ropeFactors")) : undefined;
  const angles = bufferOf(
    gpu,
    "rope angles",
    ropeAngles(config, options.contextLength, factors),
    "scratch",
  );

  const { hidden, qkv, attended, logits } = scratch;
  const embedding = weights.matrix(ggufName("embedding"));
  const operations: Operation[] = blocks.embed(embedding);
  const cache = new KvCache(gpu, config, options.kv, options.blocks);
  const residual = { y: hidden, stride: dim, over: "tokens", accumulate: true } as const;
  for (const [layer, layerCache] of cache.layers.entries()) {
    const name = (weight: LayerWeight) => ggufName(weight, layer);
    const attentionNorm = weights.vector(name("attentionNorm"));
    for (const { matrix, offset, bias } of projections(weights, config, name)) {
      operations.push(...blocks.matmul(matrix, {
        x: hidden,
        norm: attentionNorm,
        y: qkv,
        stride: queryDim + 2 * keyDim,
        offset,
        over: "tokens",
        bias,
      }));
    }
    if (config.queryKeyNorm) {
      operations.push(
        blocks.headNorm(weights.vector(name("queryNorm")), weights.vector(name("keyNorm"))),
      );
    }
    operations.push(
      blocks.ropeAppend(layerCache, angles),
      blocks.attention(layerCache),
      ...blocks.matmul(weights.matrix(name("attentionOutput")), { ...residual, x: attended }),
    );
    operations.push(
      ...config.experts && scratch.experts
        ? expertFeedForward(blocks, weights, config.experts, scratch.experts, name)
        : feedForward(blocks, weights, name),
    );
  }
  const head = config.tiedOutput ? embedding : weights.matrix(ggufName("output"));
  operations.push(
    ...blocks.matmul(head, {
      x: hidden,
      norm: weights.vector(ggufName("outputNorm")),
      y: logits,
      stride: vocabSize,
      over: "logits",
    }),
  );
  return { operations, cache };
}

function feedForward(
  blocks: OperationBuilder,
  weights: Weights,
  name: (weight: LayerWeight) => string,
): Operation[] {
  const { scratch: { hidden, gated }, config: { dim, ffnDim } } = blocks;
  const input = {
    x: hidden,
    norm: weights.vector(name("ffnNorm")),
    y: gated,
    stride: ffnDim,
    over: "tokens",
  } as const;
  const [gate, up] = [name("gate"), name("up")];
  const gating = weights.type(gate) === weights.type(up)
    ? blocks.matmul(weights.gateUp(gate, up), { ...input, gate: "both" })
    : [
      ...blocks.matmul(weights.matrix(gate), input),
      ...blocks.matmul(weights.matrix(up), { ...input, gate: "ups" }),
    ];
  const residual = { y: hidden, stride: dim, over: "tokens", accumulate: true } as const;
  const down = weights.matrix(name("down"));
  return [...gating, ...blocks.matmul(down, { ...residual, x: gated })];
}

/** A matrix of one type that yields some rows of queries, keys and values. */
interface Projection {
  readonly matrix: DeviceMatrix;
  readonly offset: number;
  readonly bias: GPUBuffer | undefined;
}

// Queries, keys and values: one matrix where neighbours have the same type (Q4_K_M files mix them).
function projections(
  weights: Weights,
  config: ModelConfig,
  name: (weight: LayerWeight) => string,
): Projection[] {
  const names = (["query", "key", "value"] as const).map(name);
  const biases = config.qkvBias ? (["queryBias", "keyBias", "valueBias"] as const).map(name) : [];
  const result: Projection[] = [];
  let offset = 0;
  for (let first = 0; first < names.length;) {
    const type = weights.type(names[first]!);
    let end = first + 1;
    while (end < names.length && weights.type(names[end]!) === type) end++;
    const matrix = weights.matrix(...names.slice(first, end));
    const bias = config.qkvBias ? weights.vector(...biases.slice(first, end)) : undefined;
    result.push({ matrix, offset, bias });
    offset += matrix.rows;
    first = end;
  }
  return result;
}

// cos and sin of every angle, [position, ropeDims / 2, 2]: WGSL's own lose digits far from zero.
function ropeAngles(
  config: ModelConfig,
  positions: number,
  factors: Float32Array | undefined,
): Float32Array<ArrayBuffer> {
  const { frequencies, magnitude } = ropeTable(config, factors);
  const angles = new Float32Array(positions * frequencies.length * 2);
  let i = 0;
  for (let position = 0; position < positions; position++) {
    for (const frequency of frequencies) {
      angles[i++] = Math.cos(position * frequency) * magnitude;
      angles[i++] = Math.sin(position * frequency) * magnitude;
    }
  }
  return angles;
}

function checkDimensions(
  { dim, ffnDim, heads, headDim, experts }: ModelConfig,
  file: ModelFile,
  { tile }: Tuning,
): void {
  // Matrix products read rows by blocks of 32, attention heads by eights; experts start a tile.
  const start = Math.max(32, 4 * tile);
  const checks = [
    ["embedding length", dim, experts ? start : 32],
    ["feed-forward length", experts?.ffnDim ?? ffnDim, experts ? start : 32],
    ["length of all heads", heads * headDim, 32],
    ["head size", headDim, 8],
  ] as const;
  for (const [what, size, multiple] of checks) {
    if (size % multiple !== 0) {
      throw new UnsupportedError(
        `Cannot run ${
          file.paths[0]
        } on the GPU: its ${what} is ${size}, no multiple of ${multiple}; use --device cpu`,
      );
    }
  }
}
