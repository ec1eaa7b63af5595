/**
 * `deno task peers:mutants [--count N] [--seed N]` changes relevant metadata of tiny models until
 * tvllm has accepted N of them. For each accepted model, llama.cpp must choose the same tokens as
 * tvllm. Models that tvllm refuses are not compared. Prints the disagreements. The exit code is 1
 * if there are any.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import type { GgufValue } from "../../engine/files/gguf_writer.ts";
import {
  ggufBytes,
  type GgufParts,
  type TinyArchitecture,
  tinyParts,
} from "../../fixtures/tiny_models.ts";
import { numbersFrom, type Pick } from "../fuzz/mutations.ts";
import { type Answer, answer, askPeer, compare } from "./agreement.ts";
import { installPeer } from "./peer.ts";

const TEXT = "Once upon a time there was a";
const TOKENS = 12;
/** Models in one run of llama.cpp. */
const BATCH = 100;

const ARCHITECTURES: readonly TinyArchitecture[] = [
  "llama",
  "qwen2",
  "qwen3",
  "qwen3moe",
  "gemma3",
];

type Values = (pick: Pick) => GgufValue | null;

const uint = (value: number): GgufValue => ({ type: "uint32", value });
const float = (value: number): GgufValue => ({ type: "float32", value });
const text = (value: string): GgufValue => ({ type: "string", value });
const flag = (value: boolean): GgufValue => ({ type: "bool", value });
const oneOf = (...values: readonly (GgufValue | null)[]): Values => (pick) =>
  values[pick(values.length)]!;
/** A value from `least` to `least` · 10^`powers`, uniform in its logarithm. */
const spread = (least: number, powers: number): Values => (pick) =>
  float(Math.fround(least * 10 ** (powers * pick(1000) / 1000)));
const upTo = (most: number): Values => (pick) => uint(pick(most + 1));

/** Keys, without the architecture's prefix, that llama.cpp reads for some architectures. */
const KEYS: Readonly<Record<string, Values>> = {
  "block_count": upTo(3),
  "context_length": (pick) => uint(1 + pick(4096)),
  "embedding_length": upTo(200),
  "feed_forward_length": upTo(200),
  "attention.head_count": upTo(12),
  "attention.head_count_kv": upTo(6),
  "attention.key_length": oneOf(uint(8), uint(16), uint(32), null),
  "attention.value_length": oneOf(uint(8), uint(16), uint(32), null),
  "attention.layer_norm_rms_epsilon": spread(1e-9, 9),
  "attention.causal": oneOf(flag(true), flag(false), null),
  "attention.scale": spread(0.01, 2),
  "attention.clamp_kqv": spread(0.01, 3),
  "attention.sliding_window": (pick) => uint(1 + pick(40)),
  "attention.sliding_window_pattern": (pick) => uint(1 + pick(6)),
  "rope.freq_base": spread(10, 6),
  "rope.freq_base_swa": spread(10, 5),
  "rope.dimension_count": oneOf(uint(0), uint(4), uint(8), uint(16), uint(32), null),
  "rope.scaling.type": oneOf(text("none"), text("linear"), text("yarn"), text("longrope")),
  "rope.scaling.factor": spread(0.5, 1.5),
  "rope.scale_linear": spread(0.5, 1.5),
  "rope.scaling.original_context_length": (pick) => uint(16 + pick(2048)),
  "rope.scaling.attn_factor": spread(0.5, 0.6),
  "rope.scaling.yarn_beta_fast": spread(4, 1.5),
  "rope.scaling.yarn_beta_slow": spread(0.2, 1.2),
  "rope.scaling.yarn_ext_factor": oneOf(float(0), float(0.5), float(1)),
  "rope.scaling.yarn_log_multiplier": oneOf(float(0), float(0.1)),
  "rope.scaling.finetuned": oneOf(flag(true), flag(false)),
  "expert_count": upTo(9),
  "expert_used_count": upTo(8),
  "expert_weights_norm": oneOf(flag(true), flag(false)),
  "expert_weights_scale": spread(0.5, 0.6),
  "expert_gating_func": upTo(3),
  "expert_feed_forward_length": upTo(80),
  "attn_logit_softcapping": spread(0.5, 2),
  "final_logit_softcapping": spread(0.5, 2),
  "logit_scale": spread(0.1, 2),
  "embedding_scale": spread(0.1, 2),
  "residual_scale": spread(0.1, 2),
  "use_parallel_residual": oneOf(flag(true), flag(false)),
  "vocab_size": oneOf(uint(293), uint(294), uint(295), null),
};

const TOKENIZER_KEYS: Readonly<Record<string, Values>> = {
  "pre": oneOf(...["smollm", "qwen2", "llama-bpe", "gpt-2", "default", "falcon"].map(text), null),
  "bos_token_id": upTo(300),
  "eos_token_id": upTo(300),
  "unknown_token_id": upTo(300),
  "add_bos_token": oneOf(flag(true), flag(false)),
  "add_eos_token": oneOf(flag(true), flag(false)),
  "add_space_prefix": oneOf(flag(true), flag(false)),
  "model": oneOf(text("gpt2"), text("llama"), text("bert")),
};

/** Changes one or two keys, or the order of merges. Returns a description of the changes. */
function mutate({ metadata }: GgufParts, architecture: string, pick: Pick): string {
  const changes: string[] = [];
  for (let i = pick(2); i >= 0; i--) {
    const kind = pick(10);
    if (kind === 0) {
      changes.push(swapMerges(metadata, pick));
      continue;
    }
    const [keys, prefix] = kind < 3
      ? [TOKENIZER_KEYS, "tokenizer.ggml"] as const
      : [KEYS, architecture] as const;
    const names = Object.keys(keys);
    const name = names[pick(names.length)]!;
    const key = `${prefix}.${name}`, value = keys[name]!(pick);
    if (value === null) metadata.delete(key);
    else metadata.set(key, value);
    changes.push(`${key}=${value === null ? "missing" : value.value}`);
  }
  return changes.join(" ");
}

function swapMerges(metadata: Map<string, GgufValue>, pick: Pick): string {
  const key = "tokenizer.ggml.merges";
  const merges = metadata.get(key) as GgufValue & { readonly value: readonly string[] };
  const value = [...merges.value];
  const [a, b] = [pick(value.length), pick(value.length)];
  [value[a], value[b]] = [value[b]!, value[a]!];
  metadata.set(key, { ...merges, value } as GgufValue);
  return `merges ${a} and ${b} swapped`;
}

interface Mutant {
  readonly what: string;
  readonly ours: Answer;
}

const { values } = parseArgs({
  options: { count: { type: "string", default: "2000" }, seed: { type: "string", default: "1" } },
});
const count = Number(values.count);
console.warn = () => {};
await installPeer();
const directory = Deno.makeTempDirSync({ prefix: "tvllm-mutants-" });
const originals = new Map<string, string>();
const totals = { accepted: 0, refused: 0, unchanged: 0, "refused by llama.cpp": 0, disagree: 0 };

for (let seed = Number(values.seed); totals.accepted < count;) {
  const mutants: Mutant[] = [];
  while (mutants.length < BATCH && totals.accepted < count) {
    const pick = numbersFrom(seed++);
    const architecture = ARCHITECTURES[pick(ARCHITECTURES.length)]!;
    if (!originals.has(architecture)) {
      const own = await answerTo(`${architecture}`, tinyParts(architecture, "F32"));
      originals.set(architecture, `${own.ids}`);
    }
    const parts = tinyParts(architecture, "F32");
    const what = `--seed ${seed - 1} ${architecture}: ${mutate(parts, architecture, pick)}`;
    try {
      const ours = await answerTo(`${seed}`, parts);
      totals.accepted++;
      if (`${ours.ids}` === originals.get(architecture)) totals.unchanged++;
      mutants.push({ what, ours });
    } catch {
      totals.refused++;
    }
  }
  const theirs = await askPeer(mutants.map(({ ours }) => ours));
  for (const [i, { what, ours }] of mutants.entries()) {
    const their = theirs[i]!;
    const isUnchanged = [...originals.values()].includes(`${ours.ids}`);
    if ("error" in their) {
      totals["refused by llama.cpp"]++;
      if (isUnchanged) continue;
      totals.disagree++;
      console.log(`${what}: llama.cpp refuses it (${their.error})`);
      continue;
    }
    const { agree, sameText, different, gaps } = compare(ours, their);
    if (agree) continue;
    totals.disagree++;
    console.log(
      `${what}: ${sameText ? "" : `different prompt ids (${their.promptIds}); `}` +
        `${different.length} other tokens, by ${gaps.map((gap) => gap.toFixed(3))} nats`,
    );
  }
  for (const { ours } of mutants) Deno.removeSync(ours.model);
}
console.log(Object.entries(totals).map(([name, number]) => `${number} ${name}`).join(", "));
Deno.removeSync(directory, { recursive: true });
if (totals.disagree > 0) Deno.exit(1);

async function answerTo(name: string, parts: GgufParts): Promise<Answer> {
  const path = join(directory, `${name}.gguf`);
  Deno.writeFileSync(path, ggufBytes(parts));
  try {
    return await answer(path, { text: TEXT, tokens: TOKENS, device: "cpu" });
  } catch (error) {
    Deno.removeSync(path);
    throw error;
  }
}
