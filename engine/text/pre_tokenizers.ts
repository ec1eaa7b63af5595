/**
 * The rules, named in GGUF's `tokenizer.ggml.pre`, that split text into words before merging.
 * Source of names and expressions: llm_tokenizer_bpe in llama.cpp, src/llama-vocab.cpp.
 */

import type { TextRule } from "./tokenizer_parts.ts";

/** The settings that a value of `tokenizer.ggml.pre` selects. */
export interface PreTokenizer {
  readonly config: TextRule;
  /** Whether a word that is itself a token is encoded as that token, without merging. */
  readonly ignoreMerges: boolean;
  /** Whether BOS is added if the file does not specify it. */
  readonly addBos: boolean;
}

const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`;

const ENDINGS = String.raw`'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]`;
const SPACES = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;

/** Llama 3 groups digits by three, Qwen2 separates them; nothing else differs. */
const tiktoken = (digits: string) =>
  String.raw`${ENDINGS}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|${SPACES}`;

const LLAMA3 = [tiktoken(String.raw`\p{N}{1,3}`)];
const QWEN2 = [tiktoken(String.raw`\p{N}`)];
const QWEN35 = [
  String.raw`${ENDINGS}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}` +
  String.raw`| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${SPACES}`,
];
const SEED_CODER = [
  String.raw`${ENDINGS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|${SPACES}`,
];
const MINICPM5 = [String.raw`\p{N}{1,3}`, tiktoken(String.raw`\p{N}+`)];
const BAILINGMOE = [
  String.raw`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` +
  String.raw`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
];
const SMOLLM = [String.raw`\p{N}`, GPT2];
const FALCON = [String.raw`[\p{P}\$\+<=>\^~\|\x60]+`, GPT2, "[0-9][0-9][0-9]"];
const DEFAULT = [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2, String.raw`\p{N}+`, "[0-9][0-9][0-9]"];

/**
 * Words of o200k: capitals, then small letters. These are the expressions in the models' own
 * tokenizer.json, with which they were trained. llama.cpp's regular expressions do not support case
 * beyond ASCII, nor marks, so llama.cpp splits words such as "ÄRGER" or "हिन्दी" (docs/texts.md).
 */
const o200k = (endings: string, digits: string) => {
  const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
  const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
  const before = String.raw`[^\r\n\p{L}\p{N}]?`;
  return `${before}${upper}*${lower}+${endings}|${before}${upper}+${lower}*${endings}` +
    String.raw`|${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${SPACES}`;
};
const GPT4O = [o200k(`(?:${ENDINGS})?`, String.raw`\p{N}{1,3}`)];
const TEKKEN = [o200k("", String.raw`\p{N}`)];

const CHINESE_KOREAN = "[一-龥ࠀ-一가-퟿]+";
/** Letters with case, as listed in DeepSeek's tokenizer. */
const CASED_LETTERS =
  "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅ" +
  "Ὀ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯ" +
  "ꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";
const DEEPSEEK_LLM = [
  String.raw`[\r\n]`,
  String.raw`\s?[${CASED_LETTERS}]+`,
  String.raw`\s?[!-/:-~！-／：-～‘-‟　-。]+`,
  String.raw`\s+$`,
  CHINESE_KOREAN,
  String.raw`\p{N}+`,
];
const DEEPSEEK_CODER = [
  String.raw`[\r\n]`,
  String.raw`\s?\p{L}+`,
  String.raw`\s?\p{P}+`,
  CHINESE_KOREAN,
  String.raw`\p{N}`,
];
const DEEPSEEK_V3 = [
  String.raw`\p{N}{1,3}`,
  "[一-龥぀-ゟ゠-ヿ]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" +
  String.raw`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|${SPACES}`,
];

interface Rule {
  /** Values of `tokenizer.ggml.pre`, separated by spaces. */
  readonly names: string;
  /** Expressions, applied in order, each to the pieces that the previous ones left. */
  readonly splits: readonly string[];
  readonly ignoreMerges?: boolean;
  readonly addBos?: boolean;
}

const RULES: readonly Rule[] = [
  { names: "default", splits: DEFAULT },
  {
    names: "gpt-2 phi-2 olmo mpt jais exaone4 trillion modern-bert gigachat a.x-4.0 mellum " +
      "granite-docling",
    splits: [GPT2],
  },
  {
    names: "smollm starcoder refact granite command-r codeshell exaone minerva-7b mellum2",
    splits: SMOLLM,
  },
  {
    names: "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral lfm2 midm-2.0",
    splits: LLAMA3,
    ignoreMerges: true,
    addBos: true,
  },
  { names: "dbrx smaug-bpe smaug chatglm-bpe", splits: LLAMA3 },
  { names: "glm4", splits: LLAMA3, ignoreMerges: true },
  {
    names: "qwen2 deepseek-r1-qwen stablelm2 hunyuan megrez kormo solar-open grok-2",
    splits: QWEN2,
  },
  { names: "qwen35", splits: QWEN35 },
  { names: "gpt-4o llama4 kanana2 minimax-m2", splits: GPT4O },
  { names: "tekken", splits: TEKKEN, ignoreMerges: true, addBos: true },
  { names: "deepseek-llm", splits: DEEPSEEK_LLM },
  { names: "deepseek-coder", splits: DEEPSEEK_CODER },
  { names: "deepseek-v3 hunyuan-dense joyai-llm", splits: DEEPSEEK_V3 },
  { names: "seed-coder", splits: SEED_CODER },
  { names: "bailingmoe bailingmoe2 llada-moe", splits: BAILINGMOE },
  { names: "minicpm5", splits: MINICPM5, ignoreMerges: true },
  { names: "falcon", splits: FALCON },
];

/** Returns every name that `preTokenizer` supports. */
export function preTokenizerNames(): string[] {
  return RULES.flatMap(({ names }) => names.split(" "));
}

/** Returns the pre-tokenizer with this name, or undefined if there is none. */
export function preTokenizer(name: string): PreTokenizer | undefined {
  const rule = RULES.find((rule) => rule.names.split(" ").includes(name));
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

/** Returns a rule that splits text into the matches of the expression and the text between them. */
export function isolate(expression: string): TextRule {
  return { type: "Split", pattern: { Regex: expression }, behavior: "Isolated", invert: false };
}
