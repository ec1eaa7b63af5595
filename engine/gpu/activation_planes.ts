/** Activations as planes of bytes, for matrix products by packed dot products. */

import { dotConstants } from "../../kernels/formats.ts";
import { PROMPT_TILE, quantizeSpec } from "../../kernels/matmul_specs.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import { tokensTogether, type Tuning } from "../../kernels/tuning.ts";
import { createBuffer } from "./buffers.ts";
import type { Operation, OperationContext, Over } from "./operation.ts";

/** Activations, and what is done with them on the way. */
export interface Activations {
  readonly x: GPUBuffer;
  /** RMSNorm with this weight. */
  readonly norm?: GPUBuffer;
  readonly over: Exclude<Over, "sequences">;
}

/** Bindings of matmul_dots.wgsl. */
interface Planes {
  readonly planes: GPUBuffer;
  readonly spans: GPUBuffer;
}

/** Whether a step of so many tokens multiplies bytes with weights of a type that are not of experts. */
export function multipliesBytes(tuning: Tuning, type: TensorType, tokens: number): boolean {
  const { matmul } = tuning;
  return matmul.by === "lanes" && matmul.activations === "int8" &&
    dotConstants(type) !== undefined && tokens < PROMPT_TILE.tokens &&
    languageFeatures().has("packed_4x8_integer_dot_product");
}

/** Of WGSL, as WebGPU says; Deno's types lack it. */
function languageFeatures(): ReadonlySet<string> {
  const { gpu } = navigator as { gpu?: { wgslLanguageFeatures?: ReadonlySet<string> } };
  return gpu?.wgslLanguageFeatures ?? new Set();
}

/** Makes planes of what products read, in buffers that they use one after the other. */
export class ActivationPlanes {
  readonly #buffers = new Map<number, Planes>();
  #last: (Activations & Planes) | undefined;

  /** The planes of `a`, and what fills them: nothing where the product before read the same. */
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

  /** Activations may have changed since. */
  forget(): void {
    this.#last = undefined;
  }
}

function make({ pipelines: { gpu } }: OperationContext, columns: number): Planes {
  // More tokens than this are multiplied in tiles, from the activations themselves.
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
