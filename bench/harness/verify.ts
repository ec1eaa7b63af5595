/** Checks whether the float64 reference would have chosen the same tokens. */

import { tablesAlone } from "../../engine/run/kv_blocks.ts";
import type { Model } from "../../engine/mod.ts";
import { kvGroups } from "../../engine/model/kv_groups.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { BLOCK_TOKENS, type ModelRunner } from "../../engine/run/runner.ts";
import type { Check } from "../report/report.ts";
import type { Target } from "../targets/target.ts";
import { plural } from "../../engine/plural.ts";

const PROMPT_TOKENS = 16;
const TOKENS = 12;
// Backends round differently: a token agrees if its logit is within this much of the best one.
const TIE = 0.1;

/**
 * Generates a few tokens on the target and scores them, teacher-forced, with the reference. This
 * may take minutes; `signal` ends the wait.
 */
export async function verifyByReference(
  model: Model,
  target: Target,
  { prompt, signal }: { readonly prompt: number[]; readonly signal?: AbortSignal },
): Promise<Check> {
  const promptIds = prompt.slice(0, PROMPT_TOKENS);
  const { requests } = await target.withSession(
    {},
    (session) => session.serve([{ promptIds, maxTokens: TOKENS }]),
  );
  const { ids } = requests[0]!;
  const tokens = [...promptIds, ...ids.slice(0, -1)];
  const blocks = Math.ceil(tokens.length / BLOCK_TOKENS);
  const runner = loadReferenceRunner(model.file, model.config, {
    blocks: kvGroups(model.config).map(() => blocks),
    maxBatchTokens: tokens.length,
  });
  const agreed = await Promise.race([agreement(runner, tokens, ids), rejectedBy(signal)]);
  return {
    name: "reference agrees",
    ok: agreed === ids.length,
    detail: `${agreed} of ${ids.length} ${
      plural(ids.length, "token")
    } are the reference's first choice, or their logits are within ${TIE} of it`,
  };
}

/** Rejects with the signal's reason once it is aborted. */
function rejectedBy(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

async function agreement(
  runner: ModelRunner,
  tokens: readonly number[],
  ids: readonly number[],
): Promise<number> {
  const blockTables = tablesAlone(runner.limits.blocks, tokens.length);
  try {
    const { logits } = await runner.submit({
      sequences: [{ slot: 0, tokens, start: 0, prior: [], blockTables, logits: "all" }],
    }).read();
    const rows = logits[0]!.slice(-ids.length);
    return ids.filter((id, i) => rows[i]![id]! >= rows[i]!.reduce((a, b) => Math.max(a, b)) - TIE)
      .length;
  } finally {
    runner.destroy();
  }
}
