/**
 * How byte-level vocabularies cut text into words before merging: GGUF's `tokenizer.ggml.pre`.
 * Source of names and expressions: llm_tokenizer_bpe in llama.cpp, src/llama-vocab.cpp.
 */

import type { TextRule } from "./tokenizer_parts.ts";

/** What `tokenizer.ggml.pre` decides. */
export interface PreTokenizer {
  readonly config: TextRule;
  /** A word that is a token is not merged. */
  readonly ignoreMerges: boolean;
  /** BOS is put in front where the file does not say. */
  readonly addBos: boolean;
}

const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`;

/** Llama 3 takes digits by threes, Qwen2 one by one; nothing else differs. */
const tiktoken = (digits: string) =>
  String.raw`'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]` +
  String.raw`|[^\r\n\p{L}\p{N}]?\p{L}+|` + digits +
  String.raw`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const LLAMA3 = [tiktoken(String.raw`\p{N}{1,3}`)];
const QWEN2 = [tiktoken(String.raw`\p{N}`)];
const SMOLLM = [String.raw`\p{N}`, GPT2];
const DEFAULT = [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2, String.raw`\p{N}+`, "[0-9][0-9][0-9]"];

interface Rule {
  readonly names: readonly string[];
  /** Applied in order, each to what the ones before it left. */
  readonly splits: readonly string[];
  readonly ignoreMerges?: boolean;
  readonly addBos?: boolean;
}

const RULES: readonly Rule[] = [
  { names: ["default"], splits: DEFAULT },
  {
    names: ["gpt-2", "phi-2", "olmo", "mpt", "jais", "exaone4", "trillion", "modern-bert"],
    splits: [GPT2],
  },
  {
    names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
    splits: SMOLLM,
  },
  {
    names: ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
    splits: LLAMA3,
    ignoreMerges: true,
    addBos: true,
  },
  { names: ["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], splits: LLAMA3 },
  { names: ["qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez"], splits: QWEN2 },
];

/** Every name that `preTokenizer` knows. */
export function preTokenizerNames(): string[] {
  return RULES.flatMap((rule) => rule.names);
}

/** The pre-tokenizer of that name, if it is known. */
export function preTokenizer(name: string): PreTokenizer | undefined {
  const rule = RULES.find((rule) => rule.names.includes(name));
  if (rule === undefined) return undefined;
  return {
    config: {
      type: "Sequence",
      pretokenizers: [...rule.splits.map(isolate), { type: "ByteLevel", use_regex: false }],
    },
    ignoreMerges: rule.ignoreMerges ?? false,
    addBos: rule.addBos ?? false,
  };
}

/** Cuts text into what the expression matches and what lies between. */
export function isolate(expression: string): TextRule {
  return { type: "Split", pattern: { Regex: expression }, behavior: "Isolated", invert: false };
}
