/** Model names for shell completion: models in the cache, and models with random weights. */

import { SYNTHETIC_FORMATS, syntheticModelNames } from "../engine/synthetic/models.ts";
import { hubCache } from "../engine/hub/settings.ts";
import type { Candidate, Candidates } from "./completion_words.ts";
import { SYNTHETIC_PREFIX } from "./model_specs.ts";
import { listSynthetics } from "./synthetic_cache.ts";
import { size } from "./transfer.ts";

/** Returns the completions of `typed` as a model argument of `command`. */
export function completeModel(typed: string, command: string): Candidates {
  const cached = () =>
    [...hubCache().list(), ...listSynthetics()]
      .map(({ spec, bytes }) => ({ value: spec, summary: `in the cache, ${size(bytes)}` }));
  if (command === "rm") return { words: cached(), files: false };
  const files = command !== "pull";
  // If nothing is typed, offer only files, because most models are files.
  if (typed === "" && files) return { words: [], files };
  const [, name, quant] = /^synth:([^:]*)(:.*)?$/.exec(typed) ?? [];
  if (name !== undefined && quant !== undefined) {
    return { words: synthetics(`${SYNTHETIC_PREFIX}${name}:`, SYNTHETIC_FORMATS), files: false };
  }
  if (name !== undefined) {
    const words = synthetics(SYNTHETIC_PREFIX, syntheticModelNames());
    return { words, files: false, goesOn: true };
  }
  const hub = cached().filter(({ value }) => value.startsWith("hf:"));
  if (typed.startsWith("hf:")) return { words: hub, files: false };
  const prefixes = [{ value: "hf:", summary: "a model of the hub" }];
  if (files) prefixes.push({ value: SYNTHETIC_PREFIX, summary: "random weights" });
  return { words: prefixes, files, goesOn: prefixes.some(({ value }) => value.startsWith(typed)) };
}

function synthetics(prefix: string, names: readonly string[]): Candidate[] {
  return names.map((name) => ({ value: `${prefix}${name}`, summary: "random weights" }));
}
