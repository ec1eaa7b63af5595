/**
 * Prints llama.cpp's greedy tokens for texts, as JSON lines. greedy.ts and mutants.ts run it as a
 * separate program, because node-llama-cpp needs a node_modules directory and the project has none.
 *
 *     llama_cpp.ts PATH/TO/node-llama-cpp/dist/index.js <REQUESTS.jsonl
 */

import { answerLines, openLlama } from "./llama.ts";

/** A text as token ids. */
export interface PeerRequest {
  /** A GGUF file. */
  readonly model: string;
  /** The text of the prompt, for llama.cpp's own tokenizer. */
  readonly text: string;
  /** Ids of prompt and answer. */
  readonly ids: readonly number[];
  /** Number of tokens of the prompt. */
  readonly promptLength: number;
}

export type PeerAnswer = {
  /** llama.cpp's own ids of the text. */
  readonly promptIds: readonly number[];
  /** For each token of the answer, the token llama.cpp would choose after the tokens before it. */
  readonly greedy: readonly number[];
} | {
  /** Why llama.cpp gave no answer. */
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
