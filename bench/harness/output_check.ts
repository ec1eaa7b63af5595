/** Whether a prompt gives the same tokens each time, in any batch; and the hash of them all. */

import { createHash } from "node:crypto";
import type { Check } from "../report/report.ts";
import type { BenchRequest, Served } from "../targets/target.ts";
import { plural } from "../../engine/plural.ts";

/** Tokens that a prompt gave besides those it gave first. */
export interface Difference {
  /** The run that gave them. */
  readonly label: string;
  readonly promptIds: readonly number[];
  /** What the prompt gave first, and then. */
  readonly outputs: readonly [readonly number[], readonly number[]];
  /** The first token that is another. */
  readonly at: number;
}

interface Output {
  readonly request: BenchRequest;
  readonly ids: readonly number[];
}

/** Two tokens may round to the same: one this much less probable than the best is no fault; nats. */
const TIE = 0.1;

/** What is said of all outputs. */
type Verdict = Pick<Check, "ok" | "detail">;

/** Remembers what greedy requests gave. Sampled ones are left out: they draw. */
export class OutputCheck {
  readonly #outputs = new Map<string, Output>();
  readonly #differences = new Map<string, Difference>();
  #faults: readonly string[] | undefined;

  /** Adds what requests gave in a run that is called `label`. */
  add(label: string, requests: readonly BenchRequest[], served: readonly Served[]): void {
    for (const [i, request] of requests.entries()) {
      if (request.sampling !== undefined && request.sampling.temperature > 0) continue;
      const { promptIds, maxTokens } = request;
      const key = hashOf([maxTokens, ...promptIds].join(","));
      const { ids } = served[i]!;
      const first = this.#outputs.get(key);
      if (first === undefined) this.#outputs.set(key, { request, ids });
      else {
        const at = ids.findIndex((id, i) => id !== first.ids[i]);
        if (at < 0) continue;
        // The same tokens again say nothing new.
        const difference: Difference = { label, promptIds, outputs: [first.ids, ids], at };
        const known = `${key} ${hashOf(ids.join(","))}`;
        if (!this.#differences.has(known)) this.#differences.set(known, difference);
      }
    }
  }

  /**
   * Judges tokens that differ between runs: near-ties may, as other batches round otherwise.
   *
   * @param margins how much less probable than the best one each of `ids` is after the prompt, in nats
   * @param beforeEach called before each comparison
   */
  async judge(
    margins: (promptIds: readonly number[], ids: readonly number[]) => Promise<readonly number[]>,
    beforeEach: () => void,
  ): Promise<void> {
    const faults: string[] = [];
    for (const { label, promptIds, outputs, at } of this.differences) {
      beforeEach();
      // From the first token that differs on.
      const own: number[] = [];
      for (const ids of outputs) own.push(...(await margins(promptIds, ids)).slice(at));
      const margin = Math.max(...own);
      if (margin > TIE) faults.push(`${label} (${margin.toFixed(2)} nats)`);
    }
    this.#faults = faults;
  }

  get judged(): boolean {
    return this.#faults !== undefined;
  }

  /** Undefined without any prompt, and while differences have yet to be judged. */
  get verdict(): Verdict | undefined {
    const { prompts, differences: { length: different } } = this;
    if (prompts === 0 || (different > 0 && !this.judged)) return undefined;
    const faults = this.#faults ?? [];
    const same = `${prompts} ${plural(prompts, "prompt")} gave the same tokens in every run`;
    return {
      ok: faults.length === 0,
      detail: faults.length > 0
        ? `a prompt gave different tokens that are no near-ties in ${faults.join(", ")}`
        : different === 0
        ? same
        : `${same}, except for ${different} ${
          plural(different, "near-tie")
        } within ${TIE} nats of the most probable token`,
    };
  }

  /** How many prompts there were. */
  get prompts(): number {
    return this.#outputs.size;
  }

  /** What prompts gave besides what they gave first, each once. */
  get differences(): Difference[] {
    return [...this.#differences.values()];
  }

  /** Of all prompts and what they gave first; empty without any. */
  get hash(): string {
    if (this.#outputs.size === 0) return "";
    const pairs = Array.from(this.#outputs, ([key, { ids }]) => `${key}:${hashOf(ids.join(","))}`);
    return hashOf(pairs.sort().join("\n"));
  }
}

/** A short hash of tokens as text. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
