/**
 * Prints llama.cpp's log-probabilities of tokens as JSON; perplexity.ts runs it as a program.
 *
 *     llama_cpp_perplexity.ts PATH/TO/node-llama-cpp/dist/index.js <WINDOWS.jsonl
 */

import { openLlama } from "./llama.ts";

/** A model, and windows of token ids. */
export interface WindowsRequest {
  readonly model: string;
  readonly windows: readonly (readonly number[])[];
}

/** For each window, ln p of each token except the first. */
export type WindowsAnswer = readonly (readonly number[])[];

if (import.meta.main) {
  const llama = await openLlama();
  const { model: modelPath, windows }: WindowsRequest = JSON.parse(
    await new Response(Deno.stdin.readable).text(),
  );
  const model = await llama.loadModel({ modelPath });
  const answer: number[][] = [];
  for (const ids of windows) {
    const context = await model.createContext({ contextSize: ids.length + 8, threads: 2 });
    const options = { temperature: 0, topK: 0, topP: 1, minP: 0 };
    const results = await context.getSequence().controlledEvaluate(
      ids.slice(0, -1).map((id) => [id, { generateNext: { probabilities: true, options } }]),
    );
    answer.push(ids.slice(1).map((id, i) => Math.log(results[i].next.probabilities.get(id) ?? 0)));
    await context.dispose();
  }
  console.log(JSON.stringify(answer));
  await model.dispose();
  await llama.dispose();
}
