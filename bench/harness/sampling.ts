/** The sampling options of benchmark requests. */

import { RequestError } from "../../engine/errors.ts";
import { DEFAULT_SAMPLING } from "../../engine/run/defaults.ts";
import type { RunOptions } from "../report/report.ts";

export { DEFAULT_SAMPLING };

const GREEDY: RunOptions["sampling"] = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repeatPenalty: 1,
};

const NAMES: Readonly<Record<string, keyof typeof GREEDY>> = {
  "temp": "temperature",
  "top-k": "topK",
  "top-p": "topP",
  "min-p": "minP",
  "repeat-penalty": "repeatPenalty",
};

/**
 * Parses `greedy`, `default`, or options such as `temp=0.7,top-k=20`; options that are left out
 * have their defaults.
 *
 * @throws {RequestError} with a message that says what was expected.
 */
export function parseSampling(text: string): RunOptions["sampling"] {
  if (text === "greedy") return GREEDY;
  if (text === "default") return DEFAULT_SAMPLING;
  const given: Record<string, number> = {};
  for (const part of text.split(",")) {
    const [, name = "", number = ""] = /^([a-z-]+)=([\d.]+)$/.exec(part.trim()) ?? [];
    const option = NAMES[name];
    const value = Number(number);
    if (option === undefined || number === "" || !Number.isFinite(value)) {
      throw new RequestError(
        `Expected greedy, default, or options as in temp=0.7,top-k=20 (${
          Object.keys(NAMES).join(", ")
        }).`,
      );
    }
    given[option] = value;
  }
  return { ...DEFAULT_SAMPLING, ...given };
}
