/** Checks that a prompt gives the same tokens each time, in any batch, and hashes all outputs. */

import { createHash } from "node:crypto";
import type { Check } from "../report/report.ts";
import type { BenchRequest, Served } from "../targets/target.ts";
import { plural } from "../../engine/plural.ts";

/** An output of a prompt that differs from its first output. */
export interface Difference {
  /** The run in which it occurred. */
  readonly label: string;
  readonly promptIds: readonly number[];
  /** The first output and the different one. */
  readonly outputs: readonly [readonly number[], readonly number[]];
  /** Index of the first token that differs. */
  readonly at: number;
}

interface Output {
  readonly request: BenchRequest;
  readonly ids: readonly number[];
}

/**
 * Rounding may make two tokens swap places. A token that is less probable than the best by at most
 * this much, in nats, is not an error.
 */
const TIE = 0.1;

/** The result of the check. */
type Verdict = Pick<Check, "ok" | "detail">;

/**
 * Remembers the outputs of greedy requests. Sampled requests are left out, as their outputs are
 * random.
 */
export class OutputCheck {
  readonly #outputs = new Map<string, Output>();
  readonly #differences = new Map<string, Difference>();
  #faults: readonly string[] | undefined;

  /** Adds the outputs of requests in the run `label`. */
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
        // A different output that was seen before is not added again.
        const difference: Difference = { label, promptIds, outputs: [first.ids, ids], at };
        const known = `${key} ${hashOf(ids.join(","))}`;
        if (!this.#differences.has(known)) this.#differences.set(known, difference);
      }
    }
  }

  /**
   * Judges the outputs that differ. Near-ties are allowed, as rounding depends on the batch.
   *
   * @param margins returns how much less probable than the best token each of `ids` is after the
   * prompt, in nats
   * @param beforeEach called before each comparison
   */
  async judge(
    margins: (promptIds: readonly number[], ids: readonly number[]) => Promise<readonly number[]>,
    beforeEach: () => void,
  ): Promise<void> {
    const faults: string[] = [];
    for (const { label, promptIds, outputs, at } of this.differences) {
      beforeEach();
      // Compare from the first token that differs.
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

  /** Undefined if there are no prompts, and while differences have not been judged. */
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

  /** Number of different prompts. */
  get prompts(): number {
    return this.#outputs.size;
  }

  /** The outputs that differ from the first one of their prompt, each once. */
  get differences(): Difference[] {
    return [...this.#differences.values()];
  }

  /** Hash of all prompts and their first outputs; empty if there are none. */
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
