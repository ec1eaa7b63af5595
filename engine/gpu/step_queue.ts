/**
 * When steps go to the device. Deno's mapAsync waits for all that was launched, so a step is held back
 * until the one before it is read: it is prepared while that one runs, and does not delay its result.
 * Steps that take long go in pieces, each launched when the one before it is done, so that signals are
 * heard in between.
 */

import { EventLoop } from "../run/event_loop.ts";
import type { Gpu } from "./device.ts";
import type { Recorded } from "./pass.ts";

/** A step that was recorded and not yet read. */
export class QueuedStep {
  /** Pieces that were launched. */
  launched = 0;
  isWanted = true;
  /** ms of the host's clock: before its first piece was launched, and after. */
  span: { readonly from: number; readonly launched: number } | undefined;

  constructor(readonly recorded: Recorded) {}

  get isLaunched(): boolean {
    return this.launched === this.recorded.pieces.length;
  }
}

/** The steps of a runner that were recorded and not yet read, in their order. */
export class StepQueue {
  readonly #steps: QueuedStep[] = [];
  readonly #eventLoop = new EventLoop();

  constructor(readonly gpu: Pick<Gpu, "device">) {}

  /** Takes a step; its first piece is launched at once if no other step is before it. */
  add(recorded: Recorded): QueuedStep {
    const step = new QueuedStep(recorded);
    this.#steps.push(step);
    if (this.#steps.length === 1) this.#launchPiece(step);
    return step;
  }

  /** Launches all that was recorded before, but for the latest `held` steps. */
  launchAll(held = 0): void {
    for (const step of this.#steps.slice(0, Math.max(0, this.#steps.length - held))) {
      this.#launch(step);
    }
  }

  /** Runs what is left of a step to its last piece; false if it was abandoned before. */
  async run(step: QueuedStep): Promise<boolean> {
    for (const earlier of this.#steps.slice(0, this.#steps.indexOf(step))) this.#launch(earlier);
    while (!step.isLaunched) {
      if (step.launched > 0) {
        await step.recorded.waits[step.launched - 1]!();
        await this.#eventLoop.yield();
      }
      // Another caller may have launched the rest meanwhile.
      if (!step.isWanted) return false;
      if (!step.isLaunched) this.#launchPiece(step);
    }
    return true;
  }

  /** Forgets a step that was read, or never will be; the next one is launched. */
  remove(step: QueuedStep): void {
    this.#steps.splice(this.#steps.indexOf(step), 1);
    const [next] = this.#steps;
    if (next !== undefined && next.launched === 0) this.#launchPiece(next);
  }

  /** Has the steps so far end with the piece that runs. */
  abandon(): void {
    for (const step of this.#steps) step.isWanted = false;
  }

  #launch(step: QueuedStep): void {
    while (!step.isLaunched) this.#launchPiece(step);
  }

  #launchPiece(step: QueuedStep): void {
    const from = performance.now();
    this.gpu.device.queue.submit([step.recorded.pieces[step.launched++]!]);
    step.span ??= { from, launched: performance.now() };
  }
}
