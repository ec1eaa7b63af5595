/** Whether a prompt gives the same tokens each time, in any batch; and the hash of them all. */

import { createHash } from "node:crypto";
import type { BenchRequest, Served } from "../targets/target.ts";

export class OutputCheck {
  readonly #outputs = new Map<string, string>();
  readonly #changed = new Set<string>();

  /** Adds what requests gave in a run that is called `label`. */
  add(label: string, requests: readonly BenchRequest[], served: readonly Served[]): void {
    for (const [i, { promptIds, maxTokens }] of requests.entries()) {
      const prompt = hash([maxTokens, ...promptIds].join(","));
      const output = hash(served[i]!.ids.join(","));
      const before = this.#outputs.get(prompt);
      this.#outputs.set(prompt, output);
      if (before !== undefined && before !== output) this.#changed.add(label);
    }
  }

  /** How many prompts there were. */
  get prompts(): number {
    return this.#outputs.size;
  }

  /** Runs in which a prompt gave other tokens than before. */
  get changed(): string[] {
    return [...this.#changed];
  }

  /** Of all prompts and what they gave; empty without any. */
  get hash(): string {
    if (this.#outputs.size === 0) return "";
    return hash([...this.#outputs].map((pair) => pair.join(":")).sort().join("\n"));
  }
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
