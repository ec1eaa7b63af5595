/**
 * Decides when steps are submitted to the device. Deno's mapAsync waits for everything that was
 * launched. So a step is prepared while the one before it runs, but launched only after that one
 * has been read, so as not to delay its result. Long steps are cut into pieces, each launched when
 * the one before it is done, so that signals can be handled in between.
 */

import { EventLoop } from "../run/event_loop.ts";
import type { Gpu } from "./device.ts";
import type { Recorded } from "./pass.ts";

/** A step that was recorded but not yet read. */
export class QueuedStep {
  /** Number of pieces launched so far. */
  launched = 0;
  isWanted = true;
  /** Host time in ms before and after its first piece was launched. */
  span: { readonly from: number; readonly launched: number } | undefined;

  constructor(readonly recorded: Recorded) {}

  get isLaunched(): boolean {
    return this.launched === this.recorded.pieces.length;
  }
}

/** The steps of a runner that were recorded but not yet read, in order. */
export class StepQueue {
  readonly #steps: QueuedStep[] = [];
  readonly #eventLoop = new EventLoop();

  constructor(readonly gpu: Pick<Gpu, "device">) {}

  /** Adds a step; launches its first piece at once if the queue was empty. */
  add(recorded: Recorded): QueuedStep {
    const step = new QueuedStep(recorded);
    this.#steps.push(step);
    if (this.#steps.length === 1) this.#launchPiece(step);
    return step;
  }

  /** Launches all queued steps except the latest `held` ones. */
  launchAll(held = 0): void {
    for (const step of this.#steps.slice(0, Math.max(0, this.#steps.length - held))) {
      this.#launch(step);
    }
  }

  /** Launches the remaining pieces of a step; returns false if it was abandoned before that. */
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

  /**
   * Removes a step that was read or never will be, and launches the first piece of the next one.
   */
  remove(step: QueuedStep): void {
    this.#steps.splice(this.#steps.indexOf(step), 1);
    const [next] = this.#steps;
    if (next !== undefined && next.launched === 0) this.#launchPiece(next);
  }

  /** Ends all queued steps after the piece that is running. */
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
