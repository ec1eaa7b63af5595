/** Text cases: tokenizers with real vocabularies must encode and decode 1 MB without loss. */

import { SPM_SPACE } from "../../engine/text/vocabulary.ts";
import { smollm2, spm } from "../text/vocabularies.ts";
import type { Reader } from "./case.ts";
import type { Pick } from "./mutations.ts";

/** Maximum length of a text in bytes of UTF-8. */
const LENGTH = 1_000_000;
const MOST_SECONDS = 5;
const MOST_BYTES = 256 << 20;

/** Sets of characters that tokenizers treat differently. */
const ALPHABETS = [
  "a",
  " ",
  "ab",
  "abcdefghijklmnopqrstuvwxyz",
  "0123456789",
  "aA'st \n\r\t",
  "<|im_end>s/",
  "é\u0301\u0302",
  "漢字かな",
  "😀\u200d👩",
  "\u0000\u0001\ufeff\u202e",
  "▁ Ġ",
] as const;

/** Returns a repeated sequence of 1 to 3 strings of random length, each from one alphabet. */
function makeText(pick: Pick): string {
  const units = Array.from({ length: 1 + pick(3) }, () => {
    const alphabet = [...ALPHABETS[pick(ALPHABETS.length)]!];
    const characters = Array.from({ length: 1 + pick(2 ** pick(16)) }, () => {
      return alphabet[pick(alphabet.length)]!;
    });
    return characters.join("");
  });
  const separator = ["", "", " ", "\n"][pick(4)]!;
  const period = units.join(separator) + separator;
  const bytes = new TextEncoder().encode(period).length;
  return period.repeat(Math.floor(LENGTH / bytes));
}

export async function textReaders(): Promise<Readonly<Record<string, Reader>>> {
  const vocabularies = [
    { tokenizer: await smollm2(), decoded: (text: string) => text },
    // SentencePiece writes spaces as U+2581, so it cannot tell a U+2581 in the text from a space.
    { tokenizer: spm(), decoded: (text: string) => text.replaceAll(SPM_SPACE, " ") },
  ];
  return {
    "text of 1 MB": (pick) => {
      const { tokenizer, decoded } = vocabularies[pick(vocabularies.length)]!;
      const text = makeText(pick);
      return {
        input: new TextEncoder().encode(text),
        mostSeconds: MOST_SECONDS,
        mostBytes: MOST_BYTES,
        run: () => {
          const ids = tokenizer.encode(text);
          if (tokenizer.decode(ids) !== decoded(text)) {
            throw new Error("decoding gives another text");
          }
        },
      };
    },
  };
}
