/**
 * Times llama.cpp for speed.ts: `speed_llama_cpp.ts NODE-LLAMA-CPP JSON`, where JSON is a
 * SpeedRequest. Each line of stdin requests a run, llama-bench's tests, or the log-probabilities of
 * a golden.
 */

import { openLlama } from "./llama.ts";
import type { Run, SpeedRequest } from "./speed.ts";

const { path, threads, promptTokens, maxTokens, golden }: SpeedRequest = JSON.parse(Deno.args[1]!);
const llama = await openLlama({ maxThreads: threads });
const model = await llama.loadModel({ modelPath: path });
const contextSize = Math.max(promptTokens + maxTokens + 8, (golden?.length ?? 0) + 8);
const context = await model.createContext({ contextSize, threads, batchSize: 512 });
const sequence = context.getSequence();
const ids = Array.from({ length: promptTokens }, (_, i) => 100 + i * 7 % 1000);

async function run(): Promise<Run> {
  await sequence.clearHistory();
  const started = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1));
  const times: number[] = [];
  const options = { temperature: 0, yieldEogToken: true };
  for await (const _ of sequence.evaluate(ids.slice(-1), options)) {
    times.push(performance.now());
    if (times.length === maxTokens) break;
  }
  const [first, last] = [times[0]!, times.at(-1)!];
  return {
    prompt: 1000 * promptTokens / (first - started),
    decode: 1000 * (times.length - 1) / (last - first),
  };
}

/** llama-bench's batch size: the tokens of a prompt that are processed at once. */
const BATCH = 512;

/**
 * Runs llama-bench's tests like its test_prompt and test_gen: random ids, an empty cache, logits
 * only for the last token of a batch, and no sampling. Uses the package's internal binding, because
 * its public interface always samples.
 */
async function tests(): Promise<Run> {
  const binding = context._ctx;
  const vocabulary = [...model.iterateAllTokens()];
  const random = () => vocabulary[Math.floor(Math.random() * vocabulary.length)]!;
  const timed = async (total: number, batch: number) => {
    await sequence.clearHistory();
    binding.disposeSequence(0);
    const started = performance.now();
    for (let at = 0; at < total; at += batch) {
      const count = Math.min(batch, total - at);
      binding.initBatch(count);
      binding.addToBatch(
        0,
        at,
        Uint32Array.from({ length: count }, random),
        Uint32Array.of(count - 1),
      );
      await binding.decodeBatch();
    }
    const seconds = (performance.now() - started) / 1000;
    binding.disposeSequence(0);
    return total / seconds;
  };
  return { prompt: await timed(promptTokens, BATCH), decode: await timed(maxTokens, 1) };
}

/** Returns [id, log-probability] of the likeliest tokens at each position. */
async function logprobs(): Promise<[number, number][][]> {
  await sequence.clearHistory();
  const results = await sequence.controlledEvaluate(
    golden!.map((
      id,
    ) => [id, { generateNext: { probabilities: true, options: { temperature: 0 } } }]),
  );
  return results.map(({ next }: { next: { probabilities: Map<number, number> } }) =>
    [...next.probabilities].slice(0, 2000).map(([id, p]) => [id, Math.log(p)])
  );
}

const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
for await (const line of lines) {
  const answers = { golden: logprobs, tests, run };
  console.log(JSON.stringify(await answers[line.trim() as keyof typeof answers]()));
}
await llama.dispose();
