/** Scratch buffers that exist for one step only, bound in place of the permanent ones. */

import { destroyBuffer } from "./buffers.ts";
import type { Dispatch } from "./pass.ts";
import type { Pipelines } from "./pipelines.ts";
import { createScratch, type Scratch, type ScratchSizes } from "./scratch.ts";

/** Buffers that must outlive a step, or that the host writes before it. */
const KEPT = ["last", "history", "metadata", "unused"] as const;

/** The scratch buffers of one step. */
export class StepBuffers {
  readonly scratch: Scratch;
  /** The buffer of this step for each permanent one. */
  readonly #made = new Map<GPUBuffer, GPUBuffer>();

  constructor(readonly pipelines: Pipelines, usual: Scratch, sizes: ScratchSizes) {
    const { gpu } = pipelines;
    const made = createScratch(gpu, sizes);
    for (const name of KEPT) destroyBuffer(gpu, made[name], "scratch");
    this.scratch = { ...made, ...Object.fromEntries(KEPT.map((name) => [name, usual[name]])) };
    this.#pair(usual, this.scratch);
  }

  /** Returns the dispatch, bound to these buffers. */
  bind({ group, ...dispatch }: Dispatch): Dispatch {
    const buffers = Object.entries(this.pipelines.boundTo(group)).map(
      ([number, buffer]) => [number, this.#made.get(buffer) ?? buffer],
    );
    return {
      ...dispatch,
      group: this.pipelines.bind(dispatch.pipeline, Object.fromEntries(buffers)),
    };
  }

  /** Frees the buffers; the step must have been read. */
  destroy(): void {
    for (const buffer of this.#made.values()) {
      destroyBuffer(this.pipelines.gpu, buffer, "scratch");
    }
  }

  #pair(usual: object, made: object): void {
    for (const [name, buffer] of Object.entries(usual)) {
      const own = (made as Record<string, unknown>)[name];
      if (buffer instanceof GPUBuffer) {
        if (own !== buffer) this.#made.set(buffer, own as GPUBuffer);
      } else if (buffer) this.#pair(buffer, own as object);
    }
  }
}
