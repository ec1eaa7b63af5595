/**
 * Prints llama.cpp's token ids of texts, as JSON lines; tokens.ts runs it as a program.
 *
 *     llama_cpp_tokens.ts PATH/TO/node-llama-cpp/dist/index.js <REQUESTS.jsonl
 */

import { answerLines, openLlama } from "./llama.ts";

/** Texts for the vocabulary of a GGUF file. */
export interface TokensRequest {
  readonly model: string;
  readonly texts: readonly string[];
}

/** The ids of each text, or llama.cpp's error for the file. */
export type TokensAnswer = { readonly ids: readonly (readonly number[])[] } | {
  readonly error: string;
};

if (import.meta.main) {
  const llama = await openLlama({ quiet: true });
  await answerLines(async ({ model: modelPath, texts }: TokensRequest): Promise<TokensAnswer> => {
    const model = await llama.loadModel({ modelPath, vocabOnly: true });
    const ids = texts.map((text) => [...model.tokenize(text, false, "trimLeadingSpace")]);
    await model.dispose();
    return { ids };
  });
  await llama.dispose();
}
