/**
 * Which regular expressions of a tokenizer.json are run. They come with the model file, and V8 tries
 * every way through one: `(a+)+$` takes for ever on a short text, and no signal is heard meanwhile. So
 * only those are run that take time in proportion to the text, the published ones among them.
 */

import { quote } from "../files/quote.ts";
import type { TextRule } from "./tokenizer_parts.ts";

const MAX_LENGTH = 4096;
/** Ways through the optional parts at the beginning of an alternative. */
const MAX_WAYS = 256;

const ESCAPE = String
  .raw`\\(?:[sSdDwWtrnvf]|[pP]\{\^?\w+\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[^A-Za-z0-9])`;
const ONE = String.raw`${ESCAPE}|\[\^?(?:${ESCAPE}|[^\\\[\]])+\]|[^\\\[\](){}|*+?^$]`;
/** Such as (?i:'s|'t|'re). */
const GROUP = String.raw`\(\?i?:(?:${ONE}|\|)+\)`;
const PART = new RegExp(
  String
    .raw`(?:${GROUP}|${ONE})(?<unbounded>[*+]|\{\d{1,2},\})?(?<bounded>\?|\{(?<least>\d{1,2})(?:,(?<most>\d{1,2}))?\})?`,
  "suy",
);

/** These take one way back at most: the last of many spaces is left for the word after them. */
const SPACES = String.raw`\s+(?!\S)`;
/** Quadratic by itself; not where the next alternatives take all the spaces that it went through. */
const LINE_ENDS = [String.raw`\s*[\r\n]+`, String.raw`\s*[\r\n]`];
/** Of o200k, the same: what follows takes the capitals that it went through. */
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;

/**
 * @throws {RangeError} if `source`, a regular expression as tokenizer.json has it, may take more time
 * than in proportion to the text.
 */
export function checkExpression(source: string): void {
  const refuse = () => {
    throw new RangeError(
      `the regular expression ${quote(source)} may take too long on some texts; ` +
        "only the expressions of published tokenizers are supported",
    );
  };
  if (source.length > MAX_LENGTH) refuse();
  if (AT_END.test(source)) return;
  const alternatives = splitAlternatives(source);
  for (const [i, alternative] of alternatives.entries()) {
    const rest = alternatives.slice(i + 1);
    if (alternative === SPACES || isLinear(alternative)) continue;
    const isLineEnds = LINE_ENDS.includes(alternative) &&
      rest.filter((other) => other !== SPACES).join("|") === String.raw`\s+`;
    const isWord = alternative.includes(`${UPPER}*${LOWER}+`) &&
      rest[0] === alternative.replace(`${UPPER}*${LOWER}+`, `${UPPER}+${LOWER}*`) &&
      isLinear(rest[0]);
    if (!isLineEnds && !isWord) refuse();
  }
}

/**
 * Whether a match is found, or not, after a bounded number of steps but for the characters that it
 * takes: once something is repeated without bound, nothing that must follow can fail.
 */
function isLinear(alternative: string): boolean {
  let ways = 1;
  let repeated = false;
  for (let at = 0; at < alternative.length;) {
    PART.lastIndex = at;
    const match = PART.exec(alternative);
    if (match === null) return false;
    const { unbounded, bounded, least, most } = match.groups!;
    // Lazy and possessive ones, and groups that are repeated.
    if (unbounded && (bounded || match[0].startsWith("("))) return false;
    const isOptional = bounded === "?" || unbounded === "*";
    if (repeated && !isOptional) return false;
    if (unbounded) repeated = true;
    if (bounded) ways *= most === undefined ? 2 : Number(most) - Number(least) + 1;
    if (ways > MAX_WAYS) return false;
    at = PART.lastIndex;
  }
  return alternative !== "";
}

/** One or more of a class, at the text's end. */
const AT_END = new RegExp(String.raw`^(${ONE})\+\$$`, "su");

/**
 * The expression for JavaScript, which takes U+FEFF for white space and U+0085 for none, unlike the
 * engines that tokenizers are written for. One that looks for the end of the text begins only where
 * what it repeats does: else each of many spaces would be gone through from each of them.
 */
function javaScriptExpression(source: string): string {
  const [, repeated] = AT_END.exec(source) ?? [];
  const whole = repeated === undefined ? source : `(?<!${repeated})${source}`;
  return whole.replace(/\\([sS])|\\[^]/g, (escape, space?: string) => {
    if (space === undefined) return escape;
    return space === "s" ? String.raw`\p{White_Space}` : String.raw`\P{White_Space}`;
  });
}

/** A rule of tokenizer.json, its expressions as JavaScript writes them. */
export function ruleForJavaScript(rule: TextRule | null): TextRule | null {
  if (typeof rule !== "object" || rule === null) return null;
  const { pattern, normalizers, pretokenizers } = rule as {
    readonly pattern?: { readonly Regex?: unknown } | null;
    readonly normalizers?: unknown;
    readonly pretokenizers?: unknown;
  };
  const all = (rules: readonly TextRule[]) => rules.map(ruleForJavaScript);
  const source = pattern?.Regex;
  return {
    ...rule,
    ...(typeof source === "string" && { pattern: { Regex: javaScriptExpression(source) } }),
    ...(Array.isArray(normalizers) && { normalizers: all(normalizers) }),
    ...(Array.isArray(pretokenizers) && { pretokenizers: all(pretokenizers) }),
  };
}

/** What stands between the bars that are in no brackets. */
function splitAlternatives(source: string): string[] {
  const alternatives = [""];
  let groups = 0;
  let inClass = false;
  for (let at = 0; at < source.length; at++) {
    let c = source[at]!;
    if (c === "\\") c += source[++at] ?? "";
    else if (inClass) inClass = c !== "]";
    else if (c === "[") inClass = true;
    else if (c === "(") groups++;
    else if (c === ")") groups--;
    else if (c === "|" && groups === 0) {
      alternatives.push("");
      continue;
    }
    alternatives[alternatives.length - 1] += c;
  }
  return alternatives;
}
