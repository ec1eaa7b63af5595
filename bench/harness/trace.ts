/** Writes measured runs as a Chrome trace, for chrome://tracing and ui.perfetto.dev. */

import type { Serving } from "../targets/target.ts";
import { kernelSteps, sumOf } from "./kernel_steps.ts";

/** A complete ("X") or metadata ("M") event of the Trace Event Format; times in µs. */
interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

const [RUNS, HOST, DEVICE, FIRST_REQUEST] = [1, 2, 3, 10];
/** Name of the kernels of a submit that were timed together. */
const TOGETHER = "kernels, timed together";

type TracedServing = Pick<Serving, "requests" | "steps">;

/** Collects servings and writes them as one trace. */
export class Trace {
  readonly #events: TraceEvent[] = [
    named(RUNS, "measured runs"),
    named(HOST, "host"),
    named(
      DEVICE,
      "device kernels (durations by the device's clock, one after another from the launch)",
    ),
  ];
  readonly #requestRows = new Set<number>();

  add(label: string, serving: TracedServing): void {
    const { requests, steps } = serving;
    const start = Math.min(...requests.map((r) => r.submitted));
    const end = Math.max(...requests.map((r) => r.times.at(-1)!));
    this.#push(label, RUNS, { from: start, to: end });
    for (const [i, { submitted, times, ids }] of requests.entries()) {
      const row = FIRST_REQUEST + i;
      if (!this.#requestRows.has(row)) {
        this.#requestRows.add(row);
        this.#events.push(named(row, `request ${i + 1}`));
      }
      const [first, last] = [times[0]!, times.at(-1)!];
      this.#push("prefill", row, { from: submitted, to: first, args: { firstToken: ids[0] } });
      this.#push("decode", row, { from: first, to: last, args: { tokens: ids.length } });
    }
    for (const { submitStart, submitEnd, readStart, readEnd, tokens, sequences } of steps) {
      this.#push("submit", HOST, { from: submitStart, to: submitEnd, args: { tokens, sequences } });
      this.#push("wait and read", HOST, { from: readStart, to: readEnd });
    }
    this.#addKernels(serving);
  }

  /** The JSON text. */
  toJson(): string {
    return JSON.stringify({ traceEvents: this.#events, displayTimeUnit: "ms" });
  }

  #addKernels(serving: TracedServing): void {
    const each = kernelSteps([serving]).steps.flat();
    let end = -Infinity;
    for (const host of serving.steps) {
      // The device starts a step once it is submitted and the previous one has been read.
      let at = Math.max(end, host.submitEnd);
      const kernels = host.timing === "together"
        ? [{ name: TOGETHER, milliseconds: sumOf(host.kernels!) }]
        : each.filter((step) => step.host === host).flatMap((step) => step.kernels);
      for (const { name, milliseconds } of kernels) {
        this.#push(name, DEVICE, { from: at, to: at + milliseconds });
        at += milliseconds;
      }
      end = Math.max(at, host.readEnd);
    }
  }

  #push(
    name: string,
    tid: number,
    { from, to, args = {} }: {
      readonly from: number;
      readonly to: number;
      readonly args?: Readonly<Record<string, unknown>>;
    },
  ): void {
    this.#events.push({
      name,
      ph: "X",
      pid: 1,
      tid,
      ts: from * 1000,
      dur: (to - from) * 1000,
      args,
    });
  }
}

function named(tid: number, name: string): TraceEvent {
  return { name: "thread_name", ph: "M", pid: 1, tid, args: { name } };
}
