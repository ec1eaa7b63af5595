/** Converts activations to planes of bytes, for matrix products that use packed dot products. */

import { dotConstants } from "../../kernels/formats.ts";
import { PROMPT_TILE, quantizeSpec } from "../../kernels/matmul_specs.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import { tokensTogether, type Tuning } from "../../kernels/tuning.ts";
import { createBuffer } from "./buffers.ts";
import type { Operation, OperationContext, Over } from "./operation.ts";

/** Activations, and how to transform them before they are converted. */
export interface Activations {
  readonly x: GPUBuffer;
  /** Weight of an RMSNorm to apply. */
  readonly norm?: GPUBuffer;
  readonly over: Exclude<Over, "sequences">;
}

/** The buffers that quantize.wgsl writes and matmul_dots.wgsl reads. */
interface Planes {
  readonly planes: GPUBuffer;
  readonly spans: GPUBuffer;
}

/**
 * Whether the products of a step with `tokens` tokens use int8 activations for weights of this
 * type. Products with experts never do.
 */
export function multipliesBytes(tuning: Tuning, type: TensorType, tokens: number): boolean {
  const { matmul } = tuning;
  return matmul.by === "lanes" && matmul.activations === "int8" &&
    dotConstants(type) !== undefined && tokens < PROMPT_TILE.tokens &&
    languageFeatures().has("packed_4x8_integer_dot_product");
}

/** Returns the WGSL language features that WebGPU reports; Deno's types lack the property. */
function languageFeatures(): ReadonlySet<string> {
  const { gpu } = navigator as { gpu?: { wgslLanguageFeatures?: ReadonlySet<string> } };
  return gpu?.wgslLanguageFeatures ?? new Set();
}

/**
 * Converts the inputs of matrix products to planes. Products with equally many columns share one
 * pair of buffers.
 */
export class ActivationPlanes {
  readonly #buffers = new Map<number, Planes>();
  #last: (Activations & Planes) | undefined;

  /**
   * Returns the planes of `a` and the operations that fill them: none if the product before had the
   * same input.
   */
  of(
    context: OperationContext,
    a: Activations,
    columns: number,
  ): Planes & { readonly fill: readonly Operation[] } {
    const last = this.#last;
    if (last && last.x === a.x && last.norm === a.norm && last.over === a.over) {
      return { ...last, fill: [] };
    }
    let found = this.#buffers.get(columns);
    if (found === undefined) this.#buffers.set(columns, found = make(context, columns));
    this.#last = { ...a, ...found };
    return { ...found, fill: [fill(context, { ...a, ...found }, columns)] };
  }

  /**
   * Called after a product that does not use planes: its input's contents may change before the
   * next one.
   */
  forget(): void {
    this.#last = undefined;
  }
}

function make({ pipelines: { gpu } }: OperationContext, columns: number): Planes {
  // Steps with more tokens use tiles, which read the activations themselves.
  const tokens = PROMPT_TILE.tokens;
  const buffer = (label: string, bytes: number) =>
    createBuffer(gpu, { label, bytes, purpose: "scratch" });
  return {
    planes: buffer("planes of activations", tokens * columns * 2),
    spans: buffer("units of activations", tokens * columns / 32 * 16),
  };
}

function fill(
  { pipelines, tuning, scratch, rmsEpsilon }: OperationContext,
  a: Activations & Planes,
  columns: number,
): Operation {
  const lanes = tuning.elementLanes;
  const spec = quantizeSpec({
    columns,
    epsilon: a.norm && rmsEpsilon,
    gathered: a.over === "logits",
    lanes,
  });
  const pipeline = pipelines.get(spec);
  const group = pipelines.bind(pipeline, {
    0: a.x,
    1: a.norm ?? scratch.unused,
    2: a.planes,
    3: a.spans,
    6: scratch.metadata,
  });
  return {
    over: a.over,
    at: (count) => {
      const inTiles = tokensTogether(tuning, count) === PROMPT_TILE.tokens;
      return {
        pipeline,
        group,
        workgroups: [inTiles ? 0 : Math.ceil(columns / 32 / lanes), count],
      };
    },
  };
}
