/**
 * Prints llama.cpp's log-probabilities for kl.ts: `llama_cpp_logprobs.ts NODE-LLAMA-CPP
 * <REQUESTS.jsonl`. A request is `{model, ids}`. Its answer has [id, log-probability] of all tokens
 * after each id, or an error.
 */

import { answerLines, openLlama } from "./llama.ts";

const llama = await openLlama();
await answerLines(async ({ model: modelPath, ids }: { model: string; ids: number[] }) => {
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({ contextSize: 256, threads: 2 });
  const results = await context.getSequence().controlledEvaluate(
    ids.map((id) => [id, { generateNext: { probabilities: true, options: { temperature: 0 } } }]),
  );
  const logprobs = results.map(({ next }: { next: { probabilities: Map<number, number> } }) =>
    Array.from(next.probabilities, ([id, p]) => [id, Math.log(p)])
  );
  await context.dispose();
  await model.dispose();
  return { logprobs };
});
// node-llama-cpp's native part may keep the program alive.
Deno.exit();
