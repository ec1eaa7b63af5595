/** Builds the operations of layers as dispatches over buffers that already exist. */

import { combineSpec, topKSpec } from "../../kernels/expert_specs.ts";
import type { KernelSpec } from "../../kernels/spec.ts";
import { embedSpec, matrixShape, type MatrixUse, normAddSpec } from "../../kernels/specs.ts";
import { slotsTogether, tokensTogether, type Tuning, usualCounts } from "../../kernels/tuning.ts";
import type { Activation, ExpertsSpec } from "../model/config.ts";
import type { LayerWeight } from "../model/weight_names.ts";
import { ActivationPlanes, multipliesBytes } from "./activation_planes.ts";
import {
  type AttentionLayer,
  attentionOperations,
  type AttentionPlace,
  ropeAppendOperation,
} from "./attention.ts";
import { bufferOf } from "./buffers.ts";
import { type MatmulLaunch, matmulLaunch } from "./matmul_launch.ts";
import type { DeviceMatrix } from "./matrix.ts";
import type { Operation, OperationContext, Over } from "./operation.ts";
import type { Pipelines } from "./pipelines.ts";
import type { ExpertScratch, Scratch } from "./scratch.ts";
import type { Weights } from "./weights.ts";

/** The inputs and outputs of a matrix product. */
export interface Product {
  readonly x: GPUBuffer;
  /** Weight of an RMSNorm to apply to x first. */
  readonly norm?: GPUBuffer;
  readonly y: GPUBuffer;
  /** Floats per token in y, and the offset within them at which the matrix's rows start. */
  readonly stride: number;
  readonly offset?: number;
  readonly over: Exclude<Over, "sequences">;
  /** Adds to `y` instead of overwriting it. */
  readonly accumulate?: boolean;
  readonly bias?: GPUBuffer | undefined;
  /**
   * "both": groups of four rows of gates and ups alternate. "ups": the rows are ups whose gates are
   * already in y. See matmul.wgsl.
   */
  readonly gate?: "both" | "ups";
  readonly activation?: Exclude<Activation, "relu2">;
  /**
   * The matrix stacks the rows of all experts, and y has a row for each of a token's slots.
   * `routes` [tokens, slots, 2] contains each slot's expert and weight. `entries` contains the
   * slots sorted by group_slots.wgsl in steps where `slotsTogether` exceeds 1; if it is absent,
   * slots are served one at a time. x has a row for each slot (`perSlot`) or for each token.
   */
  readonly experts?: {
    readonly count: number;
    readonly slots: number;
    readonly routes: GPUBuffer;
    readonly entries?: GPUBuffer;
    readonly perSlot: boolean;
  };
}

/** The context for laying out one layer. */
export interface LayerContext {
  readonly build: OperationBuilder;
  readonly weights: Weights;
  /** Returns the name in the file of one of the layer's weights. */
  readonly name: (weight: LayerWeight) => string;
}

/** Builds the operations of one model on one device. */
export class OperationBuilder {
  readonly pipelines: Pipelines;
  readonly tuning: Tuning;
  readonly scratch: Scratch;
  readonly #planes = new ActivationPlanes();

  constructor(readonly context: OperationContext) {
    this.pipelines = context.pipelines;
    this.tuning = context.tuning;
    this.scratch = context.scratch;
  }

  /**
   * Writes the embeddings of the step's tokens, multiplied by `scale`, to the residual stream. One
   * operation per part of the matrix.
   */
  embed(matrix: DeviceMatrix, scale: number): Operation[] {
    const { elementLanes: lanes, tile } = this.tuning;
    const { hidden, last, metadata } = this.scratch;
    const spec = embedSpec({ type: matrix.type, scale, tile, lanes });
    return matrix.parts.map((part) =>
      this.fixed(spec, {
        buffers: {
          0: part.quants,
          1: part.scales,
          4: hidden,
          5: last,
          6: metadata,
          7: this.#shape({ ...part, columns: matrix.columns }),
        },
        grid: (count) => [Math.ceil(matrix.columns / 32 / lanes), count],
      })
    );
  }

  /**
   * y = W·x, one operation per part of the matrix. If int8 activations are used, an operation that
   * converts x to planes comes first.
   */
  matmul(matrix: DeviceMatrix, p: Product): Operation[] {
    const { unused, metadata } = this.scratch;
    const { type, columns } = matrix;
    const { experts } = p;
    const launch = (tokens: number) =>
      matmulLaunch(this.pipelines, this.tuning, {
        type,
        tokens,
        columns,
        normed: p.norm !== undefined,
        experts: experts && (tokens === 1 ? "single" : "grouped"),
      });
    // Returns how many tokens are served together, and the maximum number of workgroups needed for
    // all.
    const spread = (count: number): readonly [number, number] => {
      if (experts === undefined) {
        const tokens = tokensTogether(this.tuning, count);
        return [tokens, Math.ceil(count / tokens)];
      }
      const slots = count * experts.slots;
      const together = experts.entries ? slotsTogether(this.tuning, experts, count) : 1;
      // Each expert may have one group that is not full.
      return [together, Math.floor((slots + experts.count * (together - 1)) / together)];
    };
    const counts = experts && !experts.entries ? [1] : this.tokenCounts(experts);
    const planes = experts === undefined && multipliesBytes(this.tuning, type, 1)
      ? this.#planes.of(this.context, p, columns)
      : undefined;
    if (planes === undefined) this.#planes.forget();
    const operations = matrix.parts.map((part): Operation => {
      const rows = experts ? matrix.rows / experts.count : part.rows;
      const firstRow = experts ? 0 : part.firstRow;
      const scales: Record<number, GPUBuffer> = part.scales ? { 1: part.scales } : {};
      const buffers = {
        0: part.quants,
        ...scales,
        2: p.x,
        3: p.norm ?? unused,
        4: p.y,
        5: p.bias ?? unused,
        6: metadata,
        7: this.#shape({
          rows,
          firstRow,
          columns,
          yStride: p.stride,
          yOffset: (p.offset ?? 0) + firstRow / (p.gate === "both" ? 2 : 1),
          over: p.over,
          accumulate: p.accumulate ?? false,
          bias: p.bias !== undefined,
          normEpsilon: p.norm && this.context.rmsEpsilon,
          gate: p.gate,
          activation: p.activation,
          ...(experts && {
            experts: { ...experts, first: part.firstRow / rows, count: part.rows / rows },
          }),
        }),
      };
      const bind = (changes: Record<number, GPUBuffer>) =>
        this.pipelines.bind(launch(1).pipeline, { ...buffers, 8: unused, ...changes });
      const single = bind(experts ? { 8: experts.routes } : {});
      const grouped = experts?.entries ? bind({ 8: experts.entries }) : single;
      const fromPlanes = planes && bind({ 2: planes.planes, 3: planes.spans });
      const launches = new Map<number, MatmulLaunch>(
        counts.map((tokens) => [tokens, launch(tokens)]),
      );
      return {
        over: p.over,
        at: (count) => {
          const [tokens, workgroups] = spread(count);
          let found = launches.get(tokens);
          if (found === undefined) launches.set(tokens, found = launch(tokens));
          const { pipeline, rows: owned } = found;
          const own = tokens === 1 ? single : grouped;
          return {
            pipeline,
            group: found.planes && fromPlanes || own,
            workgroups: [Math.ceil(rows / owned), workgroups],
          };
        },
      };
    });
    return [...planes?.fill ?? [], ...operations];
  }

  /**
   * Returns the numbers of tokens (or slots of experts) served together whose kernels are requested
   * now, and not when they are first launched.
   */
  tokenCounts(experts?: { readonly count: number; readonly slots: number }): number[] {
    return this.context.eager ? usualCounts(this.tuning, experts) : [];
  }

  /** Adds RMSNorm(x) · weight to the residual stream. @param x [tokens, dim] */
  normAdd(x: GPUBuffer, weight: GPUBuffer): Operation {
    const { dim, rmsEpsilon: epsilon } = this.context;
    const spec = normAddSpec({ dim, epsilon, lanes: this.tuning.elementLanes });
    return this.fixed(spec, {
      buffers: { 0: x, 1: weight, 2: this.scratch.hidden },
      grid: (tokens) => [tokens, 1],
    });
  }

  /** Chooses each token's experts and their weights from the router's logits. */
  topK(
    { count, used, normalized, sigmoid }: Pick<
      ExpertsSpec,
      "count" | "used" | "normalized" | "sigmoid"
    >,
    { logits, routes, bias }: Pick<ExpertScratch, "logits" | "routes"> & {
      /** Bias to add to the sigmoids, [experts]. */
      readonly bias?: GPUBuffer | undefined;
    },
  ): Operation {
    const lanes = this.tuning.elementLanes;
    return this.fixed(topKSpec({ experts: count, slots: used, normalized, sigmoid, lanes }), {
      buffers: { 0: logits, 1: routes, 2: bias },
      grid: (tokens) => [tokens, 1],
    });
  }

  /**
   * Adds up the weighted results of a token's experts, `slots` rows of `parts`. Writes the sum to
   * y, or adds it if `add` is set.
   */
  combine(
    slots: number,
    { parts, routes }: Pick<ExpertScratch, "parts" | "routes">,
    { y, add }: { readonly y: GPUBuffer; readonly add: boolean },
  ): Operation {
    const { dim } = this.context;
    const lanes = this.tuning.elementLanes;
    return this.fixed(combineSpec({ dim, slots, add, lanes }), {
      buffers: { 0: routes, 1: parts, 2: y },
      grid: (tokens) => [Math.ceil(dim / 4 / lanes), tokens],
    });
  }

  /** Rotates queries and keys and appends keys and values to the cache. */
  ropeAppend(layer: AttentionLayer, place: AttentionPlace): Operation {
    return ropeAppendOperation(this.context, layer, place);
  }

  /**
   * Computes attention over the cache. See `ropeAppendOperation` for the steps in which it also
   * rotates and appends.
   */
  attention(layer: AttentionLayer, place: AttentionPlace): Operation[] {
    return attentionOperations(this.context, layer, place);
  }

  #shape(use: MatrixUse): GPUBuffer {
    return bufferOf(this.pipelines.gpu, matrixShape(use), {
      label: "matrix shape",
      purpose: "scratch",
    });
  }

  /** Returns an operation whose kernel and buffers are the same for all steps. */
  fixed(
    spec: KernelSpec,
    { buffers, grid, over = "tokens" }: {
      readonly buffers: Readonly<Record<number, GPUBuffer | undefined>>;
      readonly grid: (count: number) => readonly [number, number];
      readonly over?: Over;
    },
  ): Operation {
    const present: Record<number, GPUBuffer> = {};
    for (const [number, buffer] of Object.entries(buffers)) {
      if (buffer !== undefined) present[Number(number)] = buffer;
    }
    const pipeline = this.pipelines.get(spec);
    const group = this.pipelines.bind(pipeline, present);
    return { over, at: (count) => ({ pipeline, group, workgroups: grid(count) }) };
  }
}
