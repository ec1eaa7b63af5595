/** Engine.score(): alone, among requests, in windows, and when it ends early. */

import assert from "node:assert/strict";
import { RequestError } from "../../engine/errors.ts";
import { Engine } from "../../engine/run/engine.ts";
import { scoreHalves } from "../../engine/run/half_windows.ts";
import { perplexity, type TokenScores } from "../../engine/run/perplexity.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { answer, FakeRunner, favourites, VOCAB } from "./fake_runner.ts";

/** Returns `length` token ids that depend on `seed`. */
function text(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => (i * i + seed * (i + 3)) % VOCAB);
}

/** Returns the favourites of a text that is scored in windows. */
function inWindows(ids: readonly number[], window: number): number[] {
  const starts = Array.from({ length: Math.ceil(ids.length / window) }, (_, i) => i * window);
  return starts.flatMap((start) => favourites(ids.slice(start, start + window)));
}

function best({ positions }: TokenScores): number[] {
  return positions.map(({ top }) => top[0]![0]);
}

Deno.test("Engine.score() returns the log-probability of each next token, and the most probable ones", async () => {
  const engine = new Engine(new FakeRunner());
  const ids = text(1, 90);
  const done: number[] = [];
  const scores = await engine.score(ids, { top: 2, progress: (tokens) => done.push(tokens) });
  assert.deepEqual(best(scores), favourites(ids));
  assert.equal(scores.window, 90);
  assert.deepEqual(done, [32, 64, 90]);
  for (const [i, { nextLogprob }] of scores.positions.entries()) {
    // The fake runner gives its favourite half of the probability, and shares the rest equally.
    const p = favourites(ids)[i] === ids[i + 1] ? 0.5 : 0.5 / (VOCAB - 1);
    if (i === 89) assert.equal(nextLogprob, null);
    else assert.ok(Math.abs(nextLogprob! - Math.log(p)) < 1e-6);
  }
  const losses = scores.positions.slice(0, -1).map(({ nextLogprob }) => -nextLogprob!);
  const mean = losses.reduce((a, b) => a + b) / 89;
  const { value, error } = perplexity(scores.positions);
  assert.ok(Math.abs(value / Math.exp(mean) - 1) < 1e-12);
  const deviation = Math.sqrt(losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / 88);
  assert.ok(Math.abs(error! / (value * deviation / Math.sqrt(89)) - 1) < 1e-12);
  assert.equal(engine.stats.blocks.used, 0);
});

Deno.test("perplexity() has no standard error for a single score", () => {
  const score = (nextLogprob: number | null) => ({ nextLogprob, top: [] });
  assert.deepEqual(perplexity([score(-Math.LN2), score(null)]), {
    value: Math.exp(Math.LN2),
    error: undefined,
  });
  assert.equal(perplexity([score(-1), score(-1), score(null)]).error, 0);
});

Deno.test("Engine.score() refuses a number of alternatives that is not a whole number", async () => {
  const engine = new Engine(new FakeRunner());
  for (const top of [1.5, 0.5, -1, NaN, Infinity, "2" as unknown as number]) {
    await assert.rejects(engine.score(text(1, 9), { top }), {
      name: "RequestError",
      option: "top",
      message: `Cannot score the text: top is ${top}, not a whole number of at least 0`,
    });
  }
  assert.equal((await engine.score(text(1, 9), { top: 1 })).positions[0]!.top.length, 1);
});

Deno.test("Engine.score() uses windows as long as the context, or as the cache can hold after growth", async () => {
  const ids = text(2, 150);
  const four = { blocks: 4 };
  const cases = [
    [new FakeRunner(four), {}, 64],
    [new FakeRunner(four), { maxBlocks: [3] }, 48],
    [new FakeRunner(four), { contextLength: 30 }, 30],
    [new FakeRunner(four, 50), {}, 50],
    [new FakeRunner({ blocks: 20 }), {}, 150],
    [new FakeRunner(four).growing(6), { maxBlocks: [9] }, 96],
    [new FakeRunner(four).growing(20), { maxBlocks: [9] }, 144],
    // Layers with a window of 20 need four blocks, plus one for a chunk of 16, for any length.
    [new FakeRunner({ blocks: 10, maxBatchTokens: 16 }, 200, [20]), { maxBlocks: [10, 5] }, 150],
    [new FakeRunner({ blocks: 10, maxBatchTokens: 16 }, 200, [20]), { maxBlocks: [10, 4] }, 64],
    [
      new FakeRunner({ ...four, maxBatchTokens: 16 }, 200, [20]).growing(9),
      { maxBlocks: [20, 20] },
      144,
    ],
  ] as const;
  for (const [runner, options, window] of cases) {
    const engine = new Engine(runner, options);
    const scores = await engine.score(ids, { top: 1 });
    assert.equal(scores.window, window);
    assert.deepEqual(best(scores), inWindows(ids, window));
    for (const { used } of engine.stats.kvGroups) assert.equal(used, 0);
  }
});

Deno.test("Engine.score() among requests changes neither their answers nor their cached prefixes", async () => {
  // If the requests fill the cache, or use every slot, some of them must be preempted.
  const cases = [[64, 4, false], [10, 4, true], [64, 3, true]] as const;
  for (const [blocks, maxSequences, preempts] of cases) {
    const engine = new Engine(new FakeRunner({ blocks, maxSequences }));
    const requests = [1, 2, 3].map((seed) => ({
      promptIds: text(seed, 40),
      sampling: GREEDY,
      maxTokens: 20,
    }));
    const streams = requests.map((request) => engine.submit(request));
    await streams[0]!.next();
    const ids = [text(4, 100), text(1, 40)];
    const scored = ids.map((ids) => engine.score(ids, { top: 1 }));
    for (const [i, scores] of (await Promise.all(scored)).entries()) {
      assert.deepEqual(best(scores), favourites(ids[i]!));
    }
    for (const [i, stream] of streams.entries()) {
      const tokens = await Array.fromAsync(stream, ({ id }) => id);
      assert.deepEqual(tokens, answer(requests[i]!).slice(i === 0 ? 1 : 0));
    }
    assert.equal(engine.stats.preemptions > 0, preempts);
    const again = await engine.generate(requests);
    assert.deepEqual(again.map(({ ids }) => ids), requests.map((request) => answer(request)));
    assert.equal(engine.stats.blocks.used, 0);
  }
});

Deno.test("Engine.score() ends on its signal, with the engine, and when the runner fails", async () => {
  const reason = new Error("enough");
  const controller = new AbortController();
  const engine = new Engine(new FakeRunner());
  const progress = () => controller.abort(reason);
  const options = { signal: controller.signal, progress };
  await assert.rejects(engine.score(text(1, 200), options), reason);
  await assert.rejects(engine.score([1, VOCAB]), RequestError);
  assert.equal((await engine.score(text(1, 20))).positions.length, 20);

  const cut = engine.score(text(1, 1000), { progress: () => void engine.stop() });
  const waiting = engine.score([1, 2]);
  await assert.rejects(cut, /the engine was stopped/);
  await assert.rejects(waiting, /the engine was stopped/);
  await assert.rejects(engine.score([1, 2]), /the engine was stopped/);
  assert.equal(engine.stats.blocks.used, 0);

  const lost = new Error("the device is lost");
  const runner = new FakeRunner();
  const failing = new Engine(runner);
  const stream = failing.submit({ promptIds: [1] });
  await stream.next();
  runner.onSubmit = () => {
    throw lost;
  };
  await assert.rejects(failing.score([1, 2]), lost);
  await assert.rejects(async () => await Array.fromAsync(stream), lost);
});

Deno.test("scoreHalves() counts second halves of windows that begin with BOS, as llama-perplexity does", async () => {
  const engine = new Engine(new FakeRunner());
  const ids = text(4, 70);
  const BOS = 1;
  const done: number[] = [];
  const score = await scoreHalves(
    (own, options) => engine.score(own, options),
    { ids, bosId: BOS },
    {
      window: 20,
      progress: (tokens, total) => done.push(tokens / total),
    },
  );
  // The definition in tools/perplexity/perplexity.cpp, written out.
  let [sum, count] = [0, 0];
  for (let start = 0; start + 20 <= ids.length; start += 20) {
    const own = [BOS, ...ids.slice(start + 1, start + 20)];
    for (let at = 10; at < 19; at++) {
      const isFavourite = favourites(own)[at] === own[at + 1];
      sum -= Math.log(isFavourite ? 0.5 : 0.5 / (VOCAB - 1));
      count++;
    }
  }
  assert.deepEqual([score.tokens, score.windows, score.window, count], [27, 3, 20, 27]);
  assert.ok(Math.abs(score.perplexity / Math.exp(sum / count) - 1) < 1e-6);
  assert.equal(done.at(-1), 1);
  await assert.rejects(
    () => scoreHalves((own, options) => engine.score(own, options), { ids, bosId: BOS }, {}),
    /the text has 70 tokens, fewer than a window of 512; use a longer text/,
  );
});
