/**
 * A ModelRunner that records when the host submits and reads each step, and how long kernels take.
 */

import type { Batch, ModelRunner, PendingStep } from "../../engine/run/runner.ts";
import type { HostStep } from "./target.ts";

/**
 * How the kernels of four decode submits are timed while profiling. The third one follows one that
 * was not timed, and timing does not delay the next one, so it takes as long as any unprofiled one.
 */
const PROFILE_CYCLE = ["each", undefined, undefined, "together"] as const;

/** Number of decode submits in a cycle. */
export const CYCLE_SUBMITS = PROFILE_CYCLE.length;

export class TimedRunner implements ModelRunner {
  /** The steps that were read since `begin`, in order. */
  readonly steps: HostStep[] = [];
  /** Whether anything was submitted. */
  hasRun = false;
  #profile = false;
  #decodes = 0;

  constructor(readonly inner: ModelRunner) {}

  /**
   * Empties `steps`. With `profile`, kernels are timed from now on: according to PROFILE_CYCLE in
   * steps that only decode, one by one in all others.
   */
  begin(profile: boolean): void {
    this.steps.length = 0;
    this.#profile = profile;
    this.#decodes = 0;
  }

  get config() {
    return this.inner.config;
  }
  get device() {
    return this.inner.device;
  }
  get limits() {
    return this.inner.limits;
  }

  submit(batch: Batch): PendingStep {
    this.hasRun = true;
    const submitStart = performance.now();
    const tokens = batch.sequences.reduce((sum, s) => sum + (s.tokens?.length ?? 1), 0);
    const sequences = batch.sequences.length;
    const chained = batch.steps ?? 1;
    const place = tokens === sequences ? this.#decodes++ % CYCLE_SUBMITS : 0;
    const timing = this.#profile ? PROFILE_CYCLE[place] : undefined;
    const pending = this.inner.submit(timing ? { ...batch, timing } : batch);
    const submitEnd = performance.now();
    return {
      read: async () => {
        const readStart = performance.now();
        const output = await pending.read();
        const readEnd = performance.now();
        this.steps.push({
          tokens,
          sequences,
          chained,
          submitStart,
          submitEnd,
          readStart,
          readEnd,
          ...(output.span && { span: output.span }),
          ...(timing && output.kernels && { timing, kernels: output.kernels }),
        });
        return output;
      },
    };
  }

  copyBlocks(copies: Parameters<ModelRunner["copyBlocks"]>[0]): void {
    this.inner.copyBlocks(copies);
  }

  async growBlocks(group: number, blocks: number): Promise<number> {
    return await this.inner.growBlocks?.(group, blocks) ?? this.limits.blocks[group]!;
  }

  abandon(): void {
    this.inner.abandon?.();
  }

  destroy(): void {
    this.inner.destroy();
  }
}
