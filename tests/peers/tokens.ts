/**
 * Compares how every pre-tokenizer and llama.cpp split texts: `deno task peers:tokens`. The
 * vocabulary is made for this purpose. It has every part of the texts that can be a word, with
 * merges for each, so a word becomes one token and the ids show where texts are split. Prints a
 * table. The exit code is 1 if a text differs that is not in KNOWN; docs/texts.md lists these too.
 */

import { join } from "node:path";
import { markdownTable } from "markdown-table";
import { byteCharacters } from "../../engine/files/byte_characters.ts";
import { ggufPieces, type GgufValue } from "../../engine/files/gguf_writer.ts";
import type { MetadataValue } from "../../engine/files/model_file.ts";
import { preTokenizerNames } from "../../engine/text/pre_tokenizers.ts";
import { loadTokenizer } from "../../engine/text/tokenizer.ts";
import { TOKEN_KIND } from "../../engine/text/vocabulary.ts";
import { askLines, installPeer, peerProgram } from "./peer.ts";
import type { TokensAnswer, TokensRequest } from "./llama_cpp_tokens.ts";

/** Names of this project that llama.cpp does not have. */
const OWN_NAMES = ["granite", "smaug"];

/** Pre-tokenizers with rules for case and marks, which llama.cpp applies to ASCII only. */
const O200K = ["gpt-4o", "llama4", "kanana2", "minimax-m2", "tekken"];

const TEXTS: Readonly<Record<string, string>> = {
  English: "The quick brown Fox's don't-stop, HE'LL we've  SHOUT iPhone15 McDonald's.",
  numbers: "1 12 123 1234 12345 123456789 3.14 1,000,000 ½ ² Ⅳ ٣٤ v2.0 0x1F",
  spaces: "  two   three\t tabs\n\n new\r\n\r\n  lines \n x  ",
  "spaces at the end": "a  b   ",
  code: "def f(x):\n    return x**2 + [1,2][0]  # comment!!\n\nif (a&&b){c+=1;}\n//end/\n",
  punctuation: 'Wait... what?! "quotes" ‘curly’ «guillemets» – dash — em; $5 + 3 = 8 ~ ^ | `x`',
  German: "Straße über Äpfel größer",
  French: "L'été à l'école, où ça?",
  Russian: "Привет, мир! Это тест.",
  Greek: "Καλημέρα κόσμε",
  Chinese: "你好，世界！今天天气很好。123个",
  Japanese: "こんにちは世界、カタカナとひらがな。",
  Korean: "안녕하세요 세계",
  emoji: "👋🏽 hi 😀😀 ❤️ 👨‍👩‍👧",
  symbols: "a\u0085b\u00a0c\u3000d \u200be € ™ ∑ → ✓",
  "byte order mark": "\ufeffa\ufeff! \ufeff b",
  "capitals with marks": "ÄRGER ÉCOLE ПРИВЕТ ПриветМир éÉa",
  Hindi: "हिन्दी में लिखा",
  Arabic: "مرحبا بالعالم",
  "combining marks": "e\u0301a\u0302 x\u0301y",
  Thai: "ภาษาไทยง่าย",
};
const CASES_AND_MARKS = ["capitals with marks", "Hindi", "combining marks", "Thai"];
/** Texts that llama.cpp is known to split differently than the model's own tokenizer.json. */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(O200K.map((name) => [name, CASES_AND_MARKS])),
  // In C++ regular expressions, only ASCII white space is white space.
  "deepseek-llm": ["symbols"],
  "deepseek-coder": ["symbols"],
};

/** Maximum bytes of a word. */
const LONGEST = 30;

const { tokens, merges } = vocabulary();
const types = tokens.map(() => TOKEN_KIND.normal);

function vocabulary(): { tokens: string[]; merges: string[] } {
  const bytes = byteCharacters();
  const parts = new Set<string>(bytes);
  for (const text of Object.values(TEXTS)) {
    const spelled = Array.from(new TextEncoder().encode(text), (byte) => bytes[byte]!);
    for (let at = 0; at < spelled.length; at++) {
      for (let end = at + 2; end <= Math.min(spelled.length, at + LONGEST); end++) {
        parts.add(spelled.slice(at, end).join(""));
      }
    }
  }
  const tokens = [...parts].sort((a, b) => a.length - b.length);
  const merges = tokens.flatMap((token) =>
    Array.from(
      { length: token.length - 1 },
      (_, i) => `${token.slice(0, i + 1)} ${token.slice(i + 1)}`,
    )
  );
  return { tokens, merges };
}

function metadata(pre: string): Map<string, MetadataValue> {
  return new Map<string, MetadataValue>([
    ["tokenizer.ggml.model", "gpt2"],
    ["tokenizer.ggml.pre", pre],
    ["tokenizer.ggml.tokens", tokens],
    ["tokenizer.ggml.token_type", types],
    ["tokenizer.ggml.merges", merges],
  ]);
}

function write(path: string, pre: string): void {
  const values = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "llama" }],
  ]);
  for (const [key, value] of metadata(pre)) {
    if (typeof value === "string") values.set(key, { type: "string", value });
    else if (value === types) values.set(key, { type: "array", of: "int32", value: types });
    else values.set(key, { type: "array", of: "string", value: value as string[] });
  }
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (const bytes of ggufPieces(values, [])) {
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  }
}

const directory = Deno.makeTempDirSync({ prefix: "tvllm-peers-" });
try {
  await installPeer();
  const names = preTokenizerNames().filter((name) => !OWN_NAMES.includes(name));
  const requests = names.map((name): TokensRequest => {
    const model = join(directory, `${name}.gguf`);
    write(model, name);
    return { model, texts: Object.values(TEXTS) };
  });
  const answers = await askLines(Deno.execPath(), {
    args: peerProgram("llama_cpp_tokens.ts"),
    requests,
  }) as TokensAnswer[];
  const rows = names.map((name, at) => {
    const theirs = answers[at]!;
    if ("error" in theirs) return [name, "", theirs.error];
    const tokenizer = loadTokenizer(metadata(name), name);
    const others = Object.entries(TEXTS).flatMap(([title, text], i) =>
      `${tokenizer.encode(text)}` === `${theirs.ids[i]}` ? [] : [title]
    );
    if (others.some((title) => !KNOWN[name]?.includes(title))) Deno.exitCode = 1;
    const all = Object.keys(TEXTS).length;
    return [name, `${all - others.length} of ${all}`, others.join(", ")];
  });
  console.log(markdownTable([["pre-tokenizer", "equal texts", "other texts"], ...rows]));
} finally {
  Deno.removeSync(directory, { recursive: true });
}
