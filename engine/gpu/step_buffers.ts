/** Buffers that live for one step, bound in place of those that are made once. */

import { destroyBuffer } from "./buffers.ts";
import type { Dispatch } from "./pass.ts";
import type { Pipelines } from "./pipelines.ts";
import { createScratch, type Scratch, type ScratchSizes } from "./scratch.ts";

/** What outlives a step, and what the host writes before it. */
const KEPT = ["last", "history", "metadata", "unused"] as const;

/** The scratch buffers of one step. */
export class StepBuffers {
  readonly scratch: Scratch;
  /** By the buffer that is bound otherwise. */
  readonly #made = new Map<GPUBuffer, GPUBuffer>();

  constructor(readonly pipelines: Pipelines, usual: Scratch, sizes: ScratchSizes) {
    const { gpu } = pipelines;
    const made = createScratch(gpu, sizes);
    for (const name of KEPT) destroyBuffer(gpu, made[name], "scratch");
    this.scratch = { ...made, ...Object.fromEntries(KEPT.map((name) => [name, usual[name]])) };
    this.#pair(usual, this.scratch);
  }

  /** The dispatch, bound to these buffers. */
  bind({ group, ...dispatch }: Dispatch): Dispatch {
    const buffers = Object.entries(this.pipelines.boundTo(group)).map(
      ([number, buffer]) => [number, this.#made.get(buffer) ?? buffer],
    );
    return {
      ...dispatch,
      group: this.pipelines.bind(dispatch.pipeline, Object.fromEntries(buffers)),
    };
  }

  /** Frees them; the step must have been read. */
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
