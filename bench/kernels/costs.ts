/** The bytes and operations that kernels need at least, computed from the shapes. */

import { type LayerKind, positionsSeen } from "../../engine/model/costs.ts";
import { KV_BYTES } from "../../kernels/sizes.ts";
import type { HeadShape } from "../../kernels/specs.ts";
import { packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { TYPES } from "./names.ts";
import type { Environment } from "../report/report.ts";
import type { Cost } from "./kernel_bench.ts";

/** A matrix that a decoded token is multiplied by. */
export interface Matrix {
  /** The kernel that does this multiplication. */
  readonly kernel: string;
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
}

/** A model, and its matrices. */
interface Decoder {
  readonly environment: Environment;
  readonly matrices: readonly Matrix[];
}

/** The product of a matrix of `bytes` bytes and `tokens` columns of float32. */
export function productCost(
  { rows, columns, bytes }: Omit<Matrix, "kernel">,
  tokens: number,
): Cost {
  return {
    operations: 2 * rows * columns * tokens,
    bytes: bytes + 4 * (rows + columns) * tokens,
  };
}

/** The heads of a layer, and the bytes of an element of its cache. */
export type CachedHeads = HeadShape & { readonly kvBytes: number };

/** A layer's attention for `tokens` tokens, each of which attends to `positions` positions. */
export function attentionCost(s: CachedHeads, positions: number, tokens: number): Cost {
  const queries = s.heads * s.headDim;
  const keys = s.kvHeads * s.headDim;
  return {
    operations: 4 * queries * positions * tokens,
    bytes: (2 * keys * positions * s.kvBytes + 8 * queries) * tokens,
  };
}

/** A layer's RMSNorm of heads, its rotations, and writing its keys and values. */
export function ropeAppendCost(
  s: CachedHeads & { readonly headNorm: boolean },
  tokens: number,
): Cost {
  const queries = s.heads * s.headDim;
  const keys = s.kvHeads * s.headDim;
  return {
    operations: (s.headNorm ? 7 : 3) * (queries + keys) * tokens,
    bytes: (4 * (queries + 2 * keys) + 4 * queries + 2 * keys * s.kvBytes) * tokens,
  };
}

/** Reading embedding rows of `dim` weights of this type, and writing them as float32. */
export function embedCost(type: TensorType, dim: number, tokens: number): Cost {
  return { operations: dim * tokens, bytes: (packedBytes(type, dim) + 4 * dim) * tokens };
}

/** Ranking a token's experts by their logits. */
export function topKCost(experts: number, tokens: number): Cost {
  return { operations: experts * experts * tokens, bytes: 4 * experts * tokens };
}

/** The weighted sum of the outputs of `slots` experts, added to `dim` numbers. */
export function combineCost(dim: number, slots: number, tokens: number): Cost {
  return { operations: 2 * dim * slots * tokens, bytes: 4 * dim * (slots + 2) * tokens };
}

/** Sampling a token: the logits are read twice. */
export function samplingCost(vocabSize: number, tokens: number): Cost {
  return { operations: 2 * vocabSize * tokens, bytes: 8 * vocabSize * tokens };
}

/** One pass over all logits. */
function passCost(vocabSize: number): Cost {
  return { operations: vocabSize, bytes: 4 * vocabSize };
}

/**
 * The cost of all calls of the kernel `name` in a decode step of one sequence whose token is at
 * `position`. Undefined if it is not counted, as for kernels that move only a few words.
 */
export function decodeCost(decoder: Decoder, name: string, position: number): Cost | undefined {
  const { model, engine } = decoder.environment;
  const kvBytes = KV_BYTES[engine.kvType];
  const ofLayers = (cost: (kind: LayerKind) => Cost) =>
    sum(model.layerKinds.map((kind) => times(cost(kind), kind.layers)));
  if (isProduct(name)) {
    const matrices = decoder.matrices.filter(({ kernel }) => kernel === name);
    return sum(matrices.map((matrix) => productCost(matrix, 1)));
  }
  const embedding = TYPES.find((type) => name === `embed_${type.toLowerCase()}`);
  if (embedding !== undefined) return embedCost(embedding, model.dim, 1);
  if (name === "attention") {
    return ofLayers((kind) =>
      attentionCost({ ...kind, kvBytes }, positionsSeen(kind, position + 1), 1)
    );
  }
  if (name === "rope_append") return ofLayers((kind) => ropeAppendCost({ ...kind, kvBytes }, 1));
  if (name === "combine") {
    return ofLayers(({ experts }) =>
      experts === undefined ? NOTHING : combineCost(model.dim, experts, 1)
    );
  }
  if (STATE_KERNELS.has(name)) return stateKernelCost(model.states, name);
  if (name === "sample_chunks" || name === "sample_keep") return passCost(model.vocabSize);
  return undefined;
}

/** Kernels that read and write the states of recurrent layers. */
const STATE_KERNELS: ReadonlySet<string> = new Set(["convolution", "delta_rule", "mamba_scan"]);

/** Each state is read and written once. */
function stateKernelCost(states: Environment["model"]["states"], name: string): Cost | undefined {
  const { convolution } = states ?? {};
  if (states === undefined || convolution === undefined) return undefined;
  const own = name === "convolution" ? convolution : {
    bytes: states.bytes - convolution.bytes,
    operations: states.operations - convolution.operations,
  };
  return { operations: own.operations, bytes: 2 * own.bytes };
}

/** The tokens of a prompt that a step processes. */
export interface PromptStep {
  /** Position of the first of them. */
  readonly start: number;
  readonly tokens: number;
  /**
   * Whether they include the last token of the prompt, the only one that is multiplied by the
   * output head.
   */
  readonly last: boolean;
}

/**
 * The cost of all calls of the kernel `name` in a step of a prompt, in which each weight, key and
 * value is read once. Undefined if it is not counted, as for experts, which tokens may share.
 */
export function promptCost(
  decoder: Decoder,
  name: string,
  { start, tokens, last }: PromptStep,
): Cost | undefined {
  const { model, engine } = decoder.environment;
  if (name.startsWith("matmul_")) {
    const matrices = decoder.matrices.filter(({ kernel }) => kernel === name);
    return sum(matrices.map((matrix) => {
      const head = matrix.rows === model.vocabSize;
      return head && !last ? NOTHING : productCost(matrix, head ? 1 : tokens);
    }));
  }
  if (name === "attention") {
    return sum(model.layerKinds.map((kind) => {
      const shape = { ...kind, kvBytes: KV_BYTES[engine.kvType] };
      const own = Array.from(
        { length: tokens },
        (_, i) => attentionCost(shape, positionsSeen(kind, start + i + 1), 1),
      );
      const keys = 2 * kind.kvHeads * kind.headDim * shape.kvBytes;
      const oldest = start + 1 - positionsSeen(kind, start + 1);
      return times({
        operations: sum(own).operations,
        bytes: keys * (start + tokens - oldest) + 8 * kind.heads * kind.headDim * tokens,
      }, kind.layers);
    }));
  }
  if (name.startsWith("experts_") || name === "combine") return undefined;
  // A prompt's last step samples one token, as a decode step does, whatever its number of tokens.
  const cost = decodeCost(decoder, name, start);
  if (cost && STATE_KERNELS.has(name)) {
    // States stay in registers from token to token.
    return { operations: cost.operations * tokens, bytes: cost.bytes };
  }
  return cost && (name.startsWith("sample_") ? cost : times(cost, tokens));
}

/** Whether a kernel computes matrix products. */
export function isProduct(name: string): boolean {
  return name.startsWith("matmul_") || name.startsWith("experts_");
}

const NOTHING: Cost = { operations: 0, bytes: 0 };

function sum(costs: readonly Cost[]): Cost {
  return costs.reduce(
    (a, b) => ({ operations: a.operations + b.operations, bytes: a.bytes + b.bytes }),
    NOTHING,
  );
}

function times({ operations, bytes }: Cost, count: number): Cost {
  return { operations: operations * count, bytes: bytes * count };
}
