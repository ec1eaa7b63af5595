/** A ModelRunner that notes when the host submits and reads each step. */

import type { Batch, ModelRunner, PendingStep } from "../engine/run/model_runner.ts";
import type { HostStep } from "./target.ts";

export class TimedRunner implements ModelRunner {
  /** The steps that were read since this was last emptied, in order. */
  readonly steps: HostStep[] = [];

  constructor(readonly inner: ModelRunner) {}

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
    const submitStart = performance.now();
    const tokens = batch.sequences.reduce((sum, s) => sum + (s.tokens?.length ?? 1), 0);
    const sequences = batch.sequences.length;
    const chained = batch.steps ?? 1;
    const pending = this.inner.submit(batch);
    const submitEnd = performance.now();
    return {
      read: async () => {
        const readStart = performance.now();
        const output = await pending.read();
        const readEnd = performance.now();
        this.steps.push({ tokens, sequences, chained, submitStart, submitEnd, readStart, readEnd });
        return output;
      },
    };
  }

  copyBlocks(pairs: Parameters<ModelRunner["copyBlocks"]>[0]): void {
    this.inner.copyBlocks(pairs);
  }

  growBlocks(blocks: number): number {
    return this.inner.growBlocks?.(blocks) ?? this.limits.blocks;
  }

  destroy(): void {
    this.inner.destroy();
  }
}
