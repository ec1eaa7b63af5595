/** What the probe allows a model: the limits that its results are read against. */

import { KV_BYTES } from "../../kernels/specs.ts";
import type { Limits, RunOptions } from "../report/report.ts";
import type { Probe, Target } from "../targets/target.ts";

/** What the probe allows this model; `bandwidth` replaces the measured. */
export function limitsOf(
  probe: Probe,
  target: Target,
  { run, bandwidth: given }: { readonly run: RunOptions; readonly bandwidth?: number },
): Limits {
  const { flops, int8, dispatch, readback, upload } = probe;
  const bandwidth = given ?? probe.bandwidth;
  const position = run.promptTokens + run.maxTokens / 2;
  return {
    bandwidth,
    flops,
    int8,
    dispatch,
    readback,
    upload,
    source: given === undefined ? "measured" : "given",
    ...decodeBounds(target, { bandwidth, flops }, { position, requests: 1 }),
  };
}

/** Most tokens a second of decode steps of `requests` requests that look back on `position` tokens each. */
export function decodeBounds(
  target: Target,
  { bandwidth, flops }: Pick<Limits, "bandwidth" | "flops">,
  { position, requests }: { readonly position: number; readonly requests: number },
): Pick<Limits, "bytesPerToken" | "memoryBound" | "arithmeticBound"> {
  const { model } = target.environment;
  const bytesPerToken = model.readBytes / requests + position * kvBytesPerToken(target);
  return {
    bytesPerToken,
    memoryBound: bandwidth * 1e9 / bytesPerToken,
    arithmeticBound: flops * 1e9 / (2 * model.readWeights + attentionOperations(target, position)),
  };
}

/**
 * Most tokens a second of a prompt: its weights are read at least once, and the output head
 * multiplies with the last token alone.
 */
export function prefillBound(
  target: Target,
  { bandwidth, flops }: Pick<Limits, "bandwidth" | "flops">,
  promptTokens: number,
): number {
  const { model } = target.environment;
  const head = model.vocabSize * model.dim;
  const weights = model.readWeights - head + head / promptTokens;
  // On average a token looks back on half of the prompt.
  const operations = 2 * weights + attentionOperations(target, (promptTokens + 1) / 2);
  return Math.min(
    bandwidth * 1e9 * promptTokens / model.readBytes,
    flops * 1e9 / operations,
  );
}

/** Operations of the attention of a token that looks back on `position` tokens, all layers together. */
function attentionOperations({ environment: { model } }: Target, position: number): number {
  return 4 * position * model.heads * model.headDim * model.layers;
}

/** Bytes of keys and values of one token, all layers together. */
export function kvBytesPerToken({ environment: { model, engine } }: Target): number {
  return 2 * model.layers * model.kvHeads * model.headDim * KV_BYTES[engine.kvType];
}
