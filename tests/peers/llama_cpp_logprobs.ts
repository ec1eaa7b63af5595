/**
 * llama.cpp's log-probabilities, for kl.ts, as JSON lines: `llama_cpp_logprobs.ts NODE-LLAMA-CPP
 * <REQUESTS.jsonl`, each `{model, ids}`; the answers are, after each id, all tokens by [id, log-probability],
 * or what went wrong.
 */

const { getLlama, LlamaLogLevel } = await import(Deno.args[0]!);
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: LlamaLogLevel.error,
});
const lines = (await new Response(Deno.stdin.readable).text()).trimEnd().split("\n");
for (const line of lines) {
  const { model: modelPath, ids }: { model: string; ids: number[] } = JSON.parse(line);
  try {
    const model = await llama.loadModel({ modelPath });
    const context = await model.createContext({ contextSize: 256, threads: 2 });
    const results = await context.getSequence().controlledEvaluate(
      ids.map((id) => [id, { generateNext: { probabilities: true, options: { temperature: 0 } } }]),
    );
    const logprobs = results.map(({ next }: { next: { probabilities: Map<number, number> } }) =>
      Array.from(next.probabilities, ([id, p]) => [id, Math.log(p)])
    );
    console.log(JSON.stringify({ logprobs }));
    await context.dispose();
    await model.dispose();
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
// Its native part may keep the program alive.
Deno.exit();
