/** Whether a prompt gives the same tokens each time, in any batch; and the hash of them all. */

import { createHash } from "node:crypto";
import type { BenchRequest, Served } from "../targets/target.ts";

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

/** Remembers what greedy requests gave. Sampled ones are left out: they draw. */
export class OutputCheck {
  readonly #outputs = new Map<string, Output>();
  readonly #differences = new Map<string, Difference>();

  /** Adds what requests gave in a run that is called `label`. */
  add(label: string, requests: readonly BenchRequest[], served: readonly Served[]): void {
    for (const [i, request] of requests.entries()) {
      if (request.sampling !== undefined && request.sampling.temperature > 0) continue;
      const { promptIds, maxTokens } = request;
      const key = hash([maxTokens, ...promptIds].join(","));
      const { ids } = served[i]!;
      const first = this.#outputs.get(key);
      if (first === undefined) this.#outputs.set(key, { request, ids });
      else {
        const at = ids.findIndex((id, i) => id !== first.ids[i]);
        if (at < 0) continue;
        // The same tokens again say nothing new.
        const difference: Difference = { label, promptIds, outputs: [first.ids, ids], at };
        const known = `${key} ${hash(ids.join(","))}`;
        if (!this.#differences.has(known)) this.#differences.set(known, difference);
      }
    }
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
    const pairs = Array.from(this.#outputs, ([key, { ids }]) => `${key}:${hash(ids.join(","))}`);
    return hash(pairs.sort().join("\n"));
  }
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
