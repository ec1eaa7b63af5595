/**
 * What llama.cpp makes of texts, as JSON lines; greedy.ts runs it as a program of its own, because
 * node-llama-cpp needs a node_modules directory, which the project has none of.
 *
 *     llama_cpp.ts PATH/TO/node-llama-cpp/dist/index.js <REQUESTS.jsonl
 */

import { answerLines, openLlama } from "./llama.ts";

/** A text in token ids. */
export interface PeerRequest {
  /** A GGUF file. */
  readonly model: string;
  /** What the prompt's ids were made from, for its own tokenizer. */
  readonly text: string;
  /** Prompt and answer. */
  readonly ids: readonly number[];
  /** Tokens of the prompt. */
  readonly promptLength: number;
}

export type PeerAnswer = {
  /** Its own ids of the text. */
  readonly promptIds: readonly number[];
  /** The token that it would choose in place of each token of the answer, given those before. */
  readonly greedy: readonly number[];
} | {
  /** Why it did not load the model. */
  readonly error: string;
};

if (import.meta.main) {
  const llama = await openLlama();
  await answerLines((request: PeerRequest) => answerOf(llama, request));
  await llama.dispose();
}

// deno-lint-ignore no-explicit-any -- its types are in a package that is not installed here
async function answerOf(llama: any, request: PeerRequest): Promise<PeerAnswer> {
  const { model: modelPath, text, ids, promptLength } = request;
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({ contextSize: ids.length + 8, threads: 2 });
  const results = await context.getSequence().controlledEvaluate(
    ids.slice(0, -1).map((id, i) =>
      i < promptLength - 1
        ? id
        : [id, { generateNext: { token: true, options: { temperature: 0 } } }]
    ),
  );
  const answer: PeerAnswer = {
    promptIds: model.tokenize(text, false),
    greedy: ids.slice(promptLength).map((_, i) => results[promptLength - 1 + i].next.token),
  };
  await context.dispose();
  await model.dispose();
  return answer;
}
