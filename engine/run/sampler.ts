/**
 * Chooses the next token with pure functions of the logits. The CPU backend calls them. The kernels
 * of the GPU sampler do the same arithmetic in float32 and are tested against them.
 *
 * The order is that of llama.cpp's default chain (common/sampling.h and src/llama-sampling.cpp):
 * logit bias → repeat penalty → top-k → top-p → min-p → temperature. The filters therefore use the
 * probabilities before the temperature: it does not affect which tokens can be drawn, only how
 * likely each of them is. Users' settings are also tuned to this order.
 *
 * Each filter is a lower bound on the logit, and the highest bound wins, so a device needs one
 * number and one pass. All tokens that tie with the last one kept are kept (llama.cpp keeps those
 * that its sort happens to put first). The draw is a Gumbel-max: the kept token with the largest
 * logit / temperature + g is distributed as the softmax of the kept logits / temperature. That
 * needs neither a sum nor a sorted list.
 */

import { argmax } from "../../kernels/reference.ts";
import { RequestError } from "../errors.ts";
import { MOST_BIASES, REPEAT_HISTORY, REPEAT_WINDOW, type SamplingOptions } from "./runner.ts";

/**
 * Smallest value by which logits are divided. With a smaller one, the quotients could overflow
 * float32; for a temperature as low as that, use 0.
 */
const LEAST_DIVISOR = 1e-6;

/** The largest unsigned 32-bit integer. */
const MAX_UINT32 = 2 ** 32 - 1;

/**
 * Checks the options of a request when it enters the engine.
 *
 * @throws {RequestError} if an option is invalid; it names the option, its value and the valid
 * ones.
 */
export function validateSampling(options: SamplingOptions, vocabSize: number): void {
  const { temperature, topK, topP, minP, repeatPenalty, logitBias, seed } = options;
  const checkValue = (name: string, value: number, rule: Rule): void => {
    const { valid, wanted, option = name } = rule;
    if (valid) return;
    throw new RequestError(`Cannot sample with ${name} ${value}: must be ${wanted}`, { option });
  };
  checkValue("temperature", temperature, {
    valid: temperature === 0 || isDivisor(temperature),
    wanted: `0 or a finite float32 of at least ${LEAST_DIVISOR}`,
  });
  checkValue("topK", topK, isUint32(topK));
  checkValue("topP", topP, isFraction(topP));
  checkValue("minP", minP, isFraction(minP));
  checkValue("repeatPenalty", repeatPenalty, {
    valid: isDivisor(repeatPenalty),
    wanted: `a finite float32 of at least ${LEAST_DIVISOR}`,
  });
  const { repeatWindow = REPEAT_WINDOW } = options;
  checkValue("repeatWindow", repeatWindow, {
    valid: Number.isInteger(repeatWindow) && repeatWindow >= 0 && repeatWindow <= REPEAT_HISTORY,
    wanted: `a whole number from 0 to ${REPEAT_HISTORY}`,
  });
  checkValue("seed", seed, isUint32(seed));
  // From JavaScript, the values can have any type.
  if (logitBias && !(logitBias instanceof Map)) {
    throw new RequestError("Cannot sample with logitBias: must be a Map from token ids to biases", {
      option: "logitBias",
    });
  }
  const biases = logitBias?.size ?? 0;
  if (biases > MOST_BIASES) {
    throw new RequestError(
      `Cannot sample with ${biases} logit biases: must be at most ${MOST_BIASES}`,
      { option: "logitBias" },
    );
  }
  for (const [id, bias] of logitBias ?? []) {
    checkValue("logit bias for token", id, {
      valid: Number.isInteger(id) && id >= 0 && id < vocabSize,
      wanted: `a token id below ${vocabSize}`,
      option: "logitBias",
    });
    // A bias of Infinity would make the softmax NaN. −Infinity is valid: it bans the token.
    checkValue(`logit bias of token ${id}`, bias, {
      valid: Math.fround(bias) < Infinity,
      wanted: "a float32 below Infinity",
      option: "logitBias",
    });
  }
}

/** A requirement for a value, in words (`wanted`), and whether the value meets it (`valid`). */
interface Rule {
  readonly valid: boolean;
  readonly wanted: string;
  /** The option that has the value, if it is not the value's name. */
  readonly option?: string;
}

function isUint32(value: number): Rule {
  return { valid: value >>> 0 === value, wanted: `a whole number from 0 to ${MAX_UINT32}` };
}

function isFraction(value: number): Rule {
  return { valid: value >= 0 && value <= 1, wanted: "a number from 0 to 1" };
}

function isDivisor(value: number): boolean {
  return value >= LEAST_DIVISOR && Math.fround(value) < Infinity;
}

/**
 * Adds the logit biases. Then divides positive and multiplies negative logits of the tokens in
 * `recent` by the penalty, once for each distinct token. Changes `logits` in place.
 *
 * @param logits [vocabSize]
 * @param recent the sequence's tokens, prompt included; only the last `repeatWindow` are penalized
 */
export function adjustLogits(
  logits: Float32Array,
  options: SamplingOptions,
  recent: readonly number[],
): void {
  const penalty = Math.fround(options.repeatPenalty);
  for (const [id, bias] of options.logitBias ?? []) logits[id]! += Math.fround(bias);
  if (penalty === 1) return;
  const window = Math.min(options.repeatWindow ?? REPEAT_WINDOW, recent.length);
  for (const id of new Set(recent.slice(recent.length - window))) {
    const logit = logits[id]!;
    logits[id] = logit > 0 ? logit / penalty : logit * penalty;
  }
}

/**
 * Returns the lowest logit that top-k, top-p and min-p all keep; −Infinity if they are off.
 *
 * top-k: the k-th largest logit. top-p: the renormalized probabilities of the tokens that top-k
 * keeps are summed in descending order; the bound is the logit at which the sum reaches topP.
 * min-p: the largest logit + ln(minP), which corresponds to minP times the largest probability.
 *
 * @param logits [vocabSize], adjusted
 */
export function keepThreshold(logits: Float32Array, options: SamplingOptions): number {
  const { topK, topP, minP } = options;
  const max = logits[argmax(logits)]!;
  let threshold = minP > 0 ? Math.fround(max + Math.log(minP)) : -Infinity;
  const cut = topK > 0 && topK < logits.length;
  if (!cut && topP >= 1) return threshold;

  const ascending = logits.slice().sort();
  let first = cut ? ascending.length - topK : 0;
  while (first > 0 && ascending[first - 1] === ascending[first]) first--;
  threshold = Math.max(threshold, ascending[first]!);
  if (topP >= 1) return threshold;

  const kept = ascending.subarray(first).reverse();
  const total = kept.reduce((sum, logit) => sum + Math.exp(logit - max), 0);
  let sum = 0;
  for (const logit of kept) {
    sum += Math.exp(logit - max);
    if (sum >= topP * total) return Math.max(threshold, logit);
  }
  return threshold;
}

/**
 * One step of the PCG generator and its output permutation RXS-M-XS 32: a bijection of u32.
 * Source: Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020.
 *
 * In WGSL, where v is a u32 and every operation wraps:
 * `let s = v * 747796405u + 2891336453u; let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
 * return (w >> 22u) ^ w;`
 */
export function pcg(v: number): number {
  const state = (Math.imul(v, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737);
  return ((word >>> 22) ^ word) >>> 0;
}

/** Returns the key that all hashes of one draw share: `pcg(position + pcg(seed))`, u32. */
export function drawKey(seed: number, position: number): number {
  return pcg((position + pcg(seed)) >>> 0);
}

/**
 * Returns a standard Gumbel variate for one token of one draw, in float32: g = −ln(E) with
 * E = −ln(1 − v), v = ((h >> 9) + 0.5) · 2⁻²³ and h = pcg(id ^ key). v is exact in float32 and
 * within (0, 1).
 *
 * The largest g decide the draw. They come from v near 0, where ln(1 − v) would lose all digits,
 * because WGSL bounds the error of `log` near 1 only absolutely, by 2⁻²¹. For v below 1/16, E is
 * therefore computed by its series v + v²/2 + v³/3 + v⁴/4, with a relative error below 4 · 10⁻⁶.
 */
export function gumbel(key: number, id: number): number {
  const v = ((pcg(id ^ key) >>> 9) + 0.5) * 2 ** -23;
  const exponential = v < 1 / 16
    ? v * (1 + v * (1 / 2 + v * (1 / 3 + v * (1 / 4))))
    : -Math.log(1 - v);
  return Math.fround(-Math.log(exponential));
}

/** The place of a draw in its sequence. */
export interface DrawPlace {
  /** The sequence's tokens before `position`; see {@linkcode adjustLogits}. */
  readonly recent: readonly number[];
  /** Index of the drawn token in the sequence. */
  readonly position: number;
}

/**
 * Draws the next token. The result depends only on the arguments, so a sequence gets the same
 * tokens alone and in any batch. Temperature 0 chooses the largest logit after biases and penalty.
 * In a tie, the lowest id wins; a NaN never wins.
 *
 * @param logits [vocabSize]; changed in place by biases and penalty
 */
export function sampleToken(
  logits: Float32Array,
  options: SamplingOptions,
  { recent, position }: DrawPlace,
): number {
  adjustLogits(logits, options, recent);
  if (options.temperature === 0) return argmax(logits);
  const threshold = keepThreshold(logits, options);
  const temperature = Math.fround(options.temperature);
  const key = drawKey(options.seed, position);
  let best = 0;
  let most = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    if (!(logits[id]! >= threshold)) continue;
    const value = Math.fround(Math.fround(logits[id]! / temperature) + gumbel(key, id));
    if (value > most) {
      most = value;
      best = id;
    }
  }
  return best;
}
