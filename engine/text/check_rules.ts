/** Limits the time and growth that normalizers and pre-tokenizers of a tokenizer.json may cause. */

import { quote } from "../files/quote.ts";
import { checkExpression } from "./expressions.ts";
import type { TextRule } from "./tokenizer_parts.ts";

/** Most rules of one kind. Published tokenizers have up to six. */
const MAX_RULES = 16;
/**
 * Largest factor by which all rules together may lengthen a text. U+2581 for a space has factor 1.
 */
const MAX_GROWTH = 8;
const MAX_PREPENDED = 64;

/** Fields that must be strings if they exist. The library does not check this. */
const TEXTS = ["type", "behavior", "content", "prepend", "prepend_scheme", "replacement"];

/**
 * Checks the rules of one kind.
 *
 * @throws {RangeError} if a field has the wrong type, or if a rule might not end, take more than
 * linear time, or make a text much longer.
 */
export function checkRules(rules: TextRule | null): void {
  let growth = 1;
  for (const rule of flatten(rules)) {
    const { type, pattern, prepend, length } = rule;
    for (const name of TEXTS) {
      const value = rule[name] ?? "";
      if (typeof value !== "string") {
        throw new RangeError(`a rule's ${name} is ${quote(JSON.stringify(value))}, not a string`);
      }
    }
    if (typeof (pattern ?? {}) !== "object") {
      throw new RangeError("a rule's pattern is not an object");
    }
    if (pattern !== undefined && pattern !== null) growth *= growthOf(rule);
    else if (type === "Replace" || type === "Split") {
      throw new RangeError(`a rule of type '${type}' has no pattern`);
    }
    if (growth > MAX_GROWTH) {
      throw new RangeError(`its rules can make a text more than ${MAX_GROWTH} times as long`);
    }
    if (typeof prepend === "string" && prepend.length > MAX_PREPENDED) {
      throw new RangeError(
        `a rule prepends ${prepend.length} characters to each text; the limit is ${MAX_PREPENDED}`,
      );
    }
    if (type === "FixedLength" && !(Number.isInteger(length) && Number(length) >= 1)) {
      throw new RangeError(
        `the length of a 'FixedLength' rule is ${
          quote(String(length))
        }, not a whole number of at ` +
          `least 1`,
      );
    }
  }
}

/** Checks a rule's pattern. Returns the largest factor by which the rule lengthens a match. */
function growthOf({ type, pattern, content }: TextRule): number {
  const { Regex, String: text } = pattern as {
    readonly Regex?: unknown;
    readonly String?: unknown;
  };
  if (typeof Regex === "string") {
    checkExpression(Regex);
    if (new RegExp(`^(?:${Regex.replaceAll("(?i:", "(?:")})$`, "u").test("")) {
      throw new RangeError(`the regular expression ${quote(Regex)} matches the empty string`);
    }
  } else if (typeof text !== "string" || text === "") {
    throw new RangeError(`a rule of type ${quote(String(type))} has no pattern`);
  }
  if (type !== "Replace" || typeof content !== "string") return 1;
  return Math.max(1, content.length / (typeof text === "string" ? text.length : 1));
}

function flatten(rules: TextRule | null): TextRule[] {
  const all: TextRule[] = [];
  const open: unknown[] = [rules];
  while (open.length > 0) {
    const rule = open.pop();
    if (typeof rule !== "object" || rule === null) continue;
    all.push(rule as TextRule);
    if (all.length > MAX_RULES) throw new RangeError(`it has more than ${MAX_RULES} rules`);
    const { normalizers, pretokenizers } = rule as TextRule;
    for (const inner of [normalizers, pretokenizers]) {
      if (Array.isArray(inner)) open.push(...inner.slice(0, MAX_RULES + 1));
    }
  }
  return all;
}

/** Most combining marks in a row in a text to normalize. Sorting them takes quadratic time. */
const MAX_MARKS = 1000;
const MARKS = new RegExp(`\\p{M}{${MAX_MARKS + 1}}`, "u");

/** Whether the rules apply a Unicode normal form, and `text` has too many marks in a row for it. */
export function hasTooManyMarks(rules: TextRule | null, text: string): boolean {
  return flatten(rules).some(({ type }) => /^NFK?[CD]$/.test(String(type))) && MARKS.test(text);
}
