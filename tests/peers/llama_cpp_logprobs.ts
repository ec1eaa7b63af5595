/**
 * llama.cpp's log-probabilities, for kl.ts, as JSON lines: `llama_cpp_logprobs.ts NODE-LLAMA-CPP
 * <REQUESTS.jsonl`, each `{model, ids}`; the answers are, after each id, all tokens by [id, log-probability],
 * or what went wrong.
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
// Its native part may keep the program alive.
Deno.exit();
