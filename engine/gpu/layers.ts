/** Converts a model's list of layers to the operations of a step, and allocates their buffers. */

import type { KvType } from "../../kernels/sizes.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import { UnsupportedError } from "../errors.ts";
import type { ModelFile } from "../files/model_file.ts";
import type {
  AttentionSpec,
  DenseSpec,
  FeedForwardSpec,
  LayerSpec,
  MixerSpec,
  ModelConfig,
} from "../model/config.ts";
import { isRecurrent } from "../model/mixers.ts";
import { type RopeSpec, ropeTable } from "../model/rope.ts";
import { ggufName, type LayerWeight } from "../model/weight_names.ts";
import type { Pause } from "../run/event_loop.ts";
import { bufferOf, withMemoryCheck } from "./buffers.ts";
import { expertFeedForward } from "./experts.ts";
import { headGate, relu2 } from "./gates.ts";
import { KvCache, type LayerCache } from "./kv_cache.ts";
import type { DeviceMatrix } from "./matrix.ts";
import type { Operation } from "./operation.ts";
import { type LayerContext, OperationBuilder } from "./operations.ts";
import type { Pipelines } from "./pipelines.ts";
import { recurrent } from "./recurrent.ts";
import type { Scratch } from "./scratch.ts";
import { createStates, type LayerStates } from "./state_cache.ts";
import { Weights } from "./weights.ts";

/** A model on the device: its operations in order, and the cache that they use. */
export interface DeviceModel {
  readonly operations: readonly Operation[];
  readonly cache: KvCache;
  /** Uploads the weights again. */
  readonly upload: () => void;
}

/** How to lay out a model. */
export interface LayersOptions {
  readonly tuning: Tuning;
  readonly scratch: Scratch;
  readonly kv: KvType;
  /** Number of KV cache blocks for each group of layers (model/kv_groups.ts). */
  readonly blocks: readonly number[];
  /** Maximum number of concurrent sequences; each has a state in recurrent layers. */
  readonly maxSequences: number;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: ((bytes: number) => void) | undefined;
  /** Called between kernels and pieces of weights; an error that it throws ends the load. */
  readonly pause: Pause;
}

/**
 * Builds the step of a model, for sequences of up to `config.contextLength` tokens. Allocates all
 * buffers first, then uploads the weights.
 *
 * @throws {UnsupportedError} if the kernels do not support one of the dimensions.
 * @throws {DeviceError} "out-of-memory" if the model does not fit.
 */
export async function loadLayers(
  pipelines: Pipelines,
  { file, config }: { readonly file: ModelFile; readonly config: ModelConfig },
  options: LayersOptions,
): Promise<DeviceModel> {
  const { gpu } = pipelines;
  const { tuning, scratch, kv, progress, pause } = options;
  checkDimensions(config, file, tuning);
  const { dim, rmsEpsilon } = config;
  const build = new OperationBuilder({
    ...{ pipelines, tuning, scratch, dim, rmsEpsilon, kv },
    eager: true,
  });
  const weights = new Weights(gpu, file, { tile: tuning.tile, progress });
  const model = await withMemoryCheck(gpu, `the weights of ${config.name}`, () => {
    const cache = new KvCache(gpu, config, options);
    const states = createStates(gpu, config, options.maxSequences);
    const upload = () => weights.upload();
    return { operations: layOut(build, weights, { config, cache, states }), cache, upload };
  });
  await pipelines.compileAll(pause);
  for (const uploads = weights.uploads();;) {
    await pause();
    const upload = `the upload of ${config.name}`;
    const { done } = await withMemoryCheck(gpu, upload, () => uploads.next());
    if (done) return model;
  }
}

// Returns the operations in the order of a step and allocates their buffers, without uploading
// weights.
function layOut(
  build: OperationBuilder,
  weights: Weights,
  { config, cache, states }: {
    readonly config: ModelConfig;
    readonly cache: KvCache;
    readonly states: readonly (LayerStates | undefined)[];
  },
): Operation[] {
  const { hidden, logits } = build.scratch;
  const embedding = weights.matrix(ggufName("embedding"));
  const operations = build.embed(embedding, config.embeddingScale);
  const angles = new Map<RopeSpec, GPUBuffer>();
  for (const [layer, spec] of config.layers.entries()) {
    const context = { build, weights, name: (weight: LayerWeight) => ggufName(weight, layer) };
    const { mixer, feedForward } = spec;
    if (isRecurrent(mixer)) {
      operations.push(...recurrent(context, mixer, states[layer]!));
    } else if (mixer) {
      const { rope } = mixer;
      if (!angles.has(rope)) angles.set(rope, ropeAngles(weights, rope, config.contextLength));
      const place = { cache: cache.layers[layer]!, angles: angles.get(rope)! };
      operations.push(...attention(context, mixer, place));
    }
    if (mixer) operations.push(...mixerOutput(context, mixer, spec));
    if (feedForward) operations.push(...feedForwardOf(context, feedForward, spec));
  }
  const head = config.tiedOutput ? embedding : weights.matrix(ggufName("output"));
  operations.push(
    ...build.matmul(head, {
      x: hidden,
      norm: weights.scaledVector(ggufName("outputNorm"), config.logitScale),
      y: logits,
      stride: config.vocabSize,
      over: "logits",
    }),
  );
  return operations;
}

// Reads the residual stream and writes `attended`.
function attention(
  context: LayerContext,
  mixer: AttentionSpec,
  { cache, angles }: { readonly cache: LayerCache; readonly angles: GPUBuffer },
): Operation[] {
  const { build, weights, name } = context;
  const { hidden, qkv, gates } = build.scratch;
  const norm = weights.vector(name("attentionNorm"));
  const stride = (mixer.heads + 2 * mixer.kvHeads) * mixer.headDim;
  const operations = projections(context, mixer).flatMap(({ matrix, offset, bias }) =>
    build.matmul(matrix, { x: hidden, norm, y: qkv, stride, offset, over: "tokens", bias })
  );
  const norms = mixer.headNorm ? weights.vector(name("queryNorm"), name("keyNorm")) : undefined;
  const place = { cache, angles, norms };
  operations.push(build.ropeAppend(mixer, place), ...build.attention(mixer, place));
  if (mixer.gated) {
    const width = mixer.heads * mixer.headDim;
    const gate = weights.matrix(name("queryGate"));
    operations.push(
      ...build.matmul(gate, { x: hidden, norm, y: gates!, stride: width, over: "tokens" }),
      headGate(build, width),
    );
  }
  return operations;
}

function mixerOutput(
  context: LayerContext,
  mixer: MixerSpec,
  { postNorms }: LayerSpec,
): Operation[] {
  const { build, weights, name } = context;
  const output = name(isRecurrent(mixer) ? "recurrentOutput" : "attentionOutput");
  const hasBias = mixer.kind === "attention" && mixer.outputBias;
  return addProduct(context, weights.matrix(output), {
    x: build.scratch.attended,
    bias: hasBias ? weights.vector(name("attentionOutputBias")) : undefined,
    postNorm: postNorms ? "attentionPostNorm" : undefined,
  });
}

function feedForwardOf(
  context: LayerContext,
  feedForward: FeedForwardSpec,
  { postNorms }: LayerSpec,
): Operation[] {
  const postNorm = postNorms ? "ffnPostNorm" : undefined;
  return feedForward.kind === "experts"
    ? expertFeedForward(context, feedForward, postNorm)
    : denseFeedForward(context, feedForward, postNorm);
}

function denseFeedForward(
  context: LayerContext,
  { width, activation, bias, gateless }: DenseSpec,
  postNorm: "ffnPostNorm" | undefined,
): Operation[] {
  const { build, weights, name } = context;
  const { hidden, gated } = build.scratch;
  const input = {
    x: hidden,
    norm: weights.vector(name("ffnNorm")),
    y: gated,
    stride: width,
    over: "tokens",
    ...(activation !== "relu2" && { activation }),
  } as const;
  const [gate, up] = [name("gate"), name("up")];
  const biasOf = (weight: LayerWeight) => bias ? weights.vector(name(weight)) : undefined;
  const gating = gateless
    ? [
      ...build.matmul(weights.matrix(up), { ...input, bias: biasOf("upBias") }),
      relu2(build, gated, width),
    ]
    : !bias && weights.type(gate) === weights.type(up)
    ? build.matmul(weights.gateUp(gate, up), { ...input, gate: "both" })
    : [
      ...build.matmul(weights.matrix(gate), { ...input, bias: biasOf("gateBias") }),
      ...build.matmul(weights.matrix(up), { ...input, gate: "ups", bias: biasOf("upBias") }),
    ];
  const down = weights.matrix(name("down"));
  const addition = addProduct(context, down, { x: gated, bias: biasOf("downBias"), postNorm });
  return [...gating, ...addition];
}

// Adds a matrix product to the residual stream; with `postNorm`, it is normalized first.
function addProduct(
  { build, weights, name }: LayerContext,
  matrix: DeviceMatrix,
  { x, bias, postNorm }: {
    readonly x: GPUBuffer;
    readonly bias: GPUBuffer | undefined;
    readonly postNorm: LayerWeight | undefined;
  },
): Operation[] {
  const { hidden, branch } = build.scratch;
  const output = { x, stride: build.context.dim, over: "tokens", bias } as const;
  if (postNorm === undefined) {
    return build.matmul(matrix, { ...output, y: hidden, accumulate: true });
  }
  return [
    ...build.matmul(matrix, { ...output, y: branch! }),
    build.normAdd(branch!, weights.vector(name(postNorm))),
  ];
}

/** One matrix that computes some of the queries, keys and values. */
interface Projection {
  readonly matrix: DeviceMatrix;
  readonly offset: number;
  readonly bias: GPUBuffer | undefined;
}

// Projections of queries, keys and values. Neighbours of the same type become one matrix (Q4_K_M
// files mix types).
function projections({ weights, name }: LayerContext, { bias }: AttentionSpec): Projection[] {
  const names = (["query", "key", "value"] as const).map(name);
  const biases = (["queryBias", "keyBias", "valueBias"] as const).map(name);
  const result: Projection[] = [];
  let offset = 0;
  for (let first = 0; first < names.length;) {
    const type = weights.type(names[first]!);
    let end = first + 1;
    while (end < names.length && weights.type(names[end]!) === type) end++;
    const matrix = weights.matrix(...names.slice(first, end));
    const own = bias ? weights.vector(...biases.slice(first, end)) : undefined;
    result.push({ matrix, offset, bias: own });
    offset += matrix.rows;
    first = end;
  }
  return result;
}

// Cosine and sine of every angle, [position, dims / 2, 2]. They are computed here because those of
// WGSL are inaccurate for large angles.
function ropeAngles(weights: Weights, rope: RopeSpec, positions: number): GPUBuffer {
  const factors = rope.factors ? weights.floats(ggufName("ropeFactors")) : undefined;
  const { frequencies, magnitude } = ropeTable(rope, factors);
  const angles = new Float32Array(positions * frequencies.length * 2);
  let i = 0;
  for (let position = 0; position < positions; position++) {
    for (const frequency of frequencies) {
      angles[i++] = Math.cos(position * frequency) * magnitude;
      angles[i++] = Math.sin(position * frequency) * magnitude;
    }
  }
  // A buffer must not be empty, even if the layers rotate nothing.
  const words = angles.length > 0 ? angles : new Float32Array(2);
  return bufferOf(weights.gpu, words, { label: "rope angles", purpose: "scratch" });
}

function checkDimensions({ dim, layers }: ModelConfig, file: ModelFile, { tile }: Tuning): void {
  for (const { mixer, feedForward } of layers) {
    // Matrix products read rows in spans of 32 columns, and attention reads heads in groups of 8.
    // The rows of each expert must start a tile.
    const start = feedForward?.kind === "experts" ? Math.max(32, 4 * tile) : 32;
    const [heads, headDim] = mixer === undefined
      ? [0, 0]
      : isRecurrent(mixer)
      ? [mixer.valueHeads, mixer.valueDim]
      : [mixer.heads, mixer.headDim];
    const checks = [
      ["embedding length", dim, start],
      ["feed-forward length", feedForward?.width ?? 0, start],
      ["total length of the heads", heads * headDim, 32],
      ["head size", headDim, 8],
    ] as const;
    for (const [what, size, multiple] of checks) {
      if (size % multiple === 0) continue;
      throw new UnsupportedError(
        `Cannot run ${
          file.paths[0]
        } on the GPU: its ${what} is ${size}, not a multiple of ${multiple}; use --device cpu`,
      );
    }
  }
}
