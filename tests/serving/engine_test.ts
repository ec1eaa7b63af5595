import assert from "node:assert/strict";
import { DeviceError } from "../../engine/errors.ts";
import { DEFAULT_MAX_TOKENS, DEFAULT_SAMPLING } from "../../engine/run/defaults.ts";
import { Engine, type EngineOptions, type Generation } from "../../engine/run/engine.ts";
import type { GenerationRequest } from "../../engine/run/sequence.ts";
import { type Token, type TokenStream } from "../../engine/run/token_stream.ts";
import { answer, FakeRunner, VOCAB } from "./fake_runner.ts";

function ask(promptIds: readonly number[], more: Partial<GenerationRequest> = {}) {
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 1 };
  return { promptIds, sampling, maxTokens: 12, stopIds: [], ...more } satisfies GenerationRequest;
}

/** Returns `length` token ids that depend on `seed`. */
function text(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => (i * i + seed * (i + 3)) % VOCAB);
}

async function collect(stream: TokenStream): Promise<Token[]> {
  const tokens: Token[] = [];
  for await (const token of stream) tokens.push(token);
  return tokens;
}

Deno.test("Engine gives a request the same tokens alone, in any batch, and under any schedule", async (t) => {
  const system = text(5, 40);
  const requests = [
    ask([...system, ...text(1, 30)], { maxTokens: 30 }),
    ask([...system, ...text(2, 3)], { maxTokens: 50 }),
    ask(text(3, 64), { stopIds: [2, 3, 4] }),
    ask([...system, ...text(1, 24)]), // All its blocks are hits if the first one is cached.
    ask(text(4, 1), { maxTokens: 70, stopIds: [1] }),
    ask(text(3, 64), { maxTokens: 1 }),
    ask([...system, ...text(1, 30)], { maxTokens: 3 }),
    // Short prompts with long answers start together and outgrow a small cache.
    ...[6, 7, 8, 9].map((seed) => ask(text(seed, 10), { maxTokens: 60 })),
  ];
  const expected = requests.map((request) => answer(request));
  assert.ok(
    expected.some((ids, i) => ids.length < requests[i]!.maxTokens),
    "no request stops early",
  );

  const run = async (blocks: number, options: EngineOptions, alone = false) => {
    const runner = new FakeRunner({ blocks, maxSequences: 5 });
    const engine = new Engine(runner, options);
    const results = [];
    for (const batch of alone ? requests.map((request) => [request]) : [requests]) {
      results.push(...await engine.generate(batch));
    }
    for (const [i, { ids, finish }] of results.entries()) {
      assert.deepEqual(ids, expected[i]);
      assert.equal(finish, ids.length < requests[i]!.maxTokens ? "stop" : "length");
    }
    const { stats } = engine;
    assert.deepEqual([stats.running, stats.waiting, stats.blocks.used], [0, 0, 0]);
    assert.equal(stats.generatedTokens, expected.flat().length);
    return stats;
  };

  for (const prefixCacheBlocks of [0, 3, Infinity]) {
    for (const maxBatchTokens of [5, 7, 64, 512]) {
      for (const steps of [1, 8]) {
        const options = { prefixCacheBlocks, maxBatchTokens, steps };
        await t.step(JSON.stringify(options), async () => {
          await run(64, options, true);
          assert.equal((await run(64, options)).preemptions, 0);
          // 7 blocks are just enough for the longest request.
          const tight = await run(7, options);
          assert.equal(tight.blocks.total, 7);
          assert.ok(tight.preemptions > 0);
        });
      }
    }
  }
});

Deno.test("Engine shares a system prompt of 286 tokens, with the counts computed by hand", async () => {
  // 286 tokens fill 17 blocks (272 tokens); the rest of the 18th differs from request to request.
  // The first of 20 requests computes all of them, and the 19 others find 17 blocks each: 19 · 17 =
  // 323 hits, and 19 · 272 = 5168 tokens saved. Each prompt of 286 + 10 tokens has 18 full blocks,
  // so there are 20 · 18 − 323 = 37 misses, and 20 · 296 − 5168 = 752 tokens to compute. A request
  // has 296 + 8 − 1 = 303 tokens in the cache. They need 19 blocks, 2 of them not shared. Ten
  // requests at once need 17 + 10 · 2 = 37 blocks; without sharing they would need 190.
  const system = text(9, 286);
  const requests = Array.from(
    { length: 20 },
    (_, i) => ask([...system, i, ...text(i, 9)], { maxTokens: 8 }),
  );
  for (const maxBatchTokens of [512, 64]) {
    const runner = new FakeRunner({ blocks: 37, maxSequences: 10, maxBatchTokens });
    const engine = new Engine(runner);
    const results = [
      ...await engine.generate(requests.slice(0, 10)),
      ...await engine.generate(requests.slice(10)),
    ];
    assert.deepEqual(results.map(({ ids }) => ids), requests.map((request) => answer(request)));
    const { prefix, prefillTokens, preemptions } = engine.stats;
    assert.deepEqual(prefix, {
      hits: 323,
      misses: 37,
      prefixHits: 19,
      tokensSaved: 5168,
      blocksShared: 17,
    });
    assert.deepEqual([prefillTokens, preemptions], [752, 0]);
    assert.equal(Math.max(...runner.batches.map(({ sequences }) => sequences.length)), 10);
  }
});

Deno.test("Engine submits a step before it reads the previous one", async () => {
  const runner = new FakeRunner();
  const ahead: number[] = [];
  runner.onRead = (reads) => void ahead.push(runner.batches.length - reads);
  const engine = new Engine(runner);
  await engine.generate([ask(text(1, 5)), ask(text(2, 9))]);
  // Of the 12 steps, two are submitted and not yet read at each read, and one at the last read.
  assert.deepEqual(ahead, [...Array<number>(11).fill(2), 1]);
  for (const { sequences } of runner.batches.slice(1)) {
    assert.deepEqual(sequences.map((row) => row.tokens), [null, null]);
  }
});

Deno.test("Engine accepts requests at any moment, and records a time for every token", async () => {
  const engine = new Engine(new FakeRunner({ maxSequences: 2 }));
  const before = performance.now();
  const first = engine.submit(ask(text(1, 20), { maxTokens: 200 }));
  for await (const token of first) if (token.index === 20) break;
  const requests = [ask(text(2, 20)), ask(text(3, 20)), ask(text(4, 20))];
  const streams = requests.map((request) => engine.submit(request));
  for (const [i, stream] of streams.entries()) {
    const tokens = await collect(stream);
    assert.deepEqual(tokens.map(({ id }) => id), answer(requests[i]!));
    assert.deepEqual(tokens.map(({ index }) => index), tokens.map((_, i) => i));
    assert.deepEqual(tokens.map(({ time }) => time), stream.timings.tokens);
    const times = [before, stream.timings.submitted, ...stream.timings.tokens, performance.now()];
    assert.deepEqual(times, times.toSorted((a, b) => a - b));
    assert.deepEqual(tokens.map(({ finish }) => finish).filter(Boolean), ["length"]);
    assert.equal(tokens.at(-1)!.finish, "length");
  }
});

Deno.test("Engine cancels a request when its loop is left, by cancel() and by a signal", async () => {
  const engine = new Engine(new FakeRunner({ blocks: 300 }));
  const long = { maxTokens: 4000 };
  const left = engine.submit(ask(text(1, 20), long));
  for await (const token of left) if (token.index === 3) break;
  assert.equal(left.finish, "cancelled");

  const cancelled = engine.submit(ask(text(2, 20), long));
  await cancelled.next();
  cancelled.cancel();
  const rest = await collect(cancelled);
  assert.equal(cancelled.finish, "cancelled");
  if (rest.length > 0) assert.equal(rest.at(-1)!.finish, "cancelled");

  const controller = new AbortController();
  const aborted = engine.submit(ask(text(3, 20), { ...long, signal: controller.signal }));
  const tokens: Token[] = [];
  for await (const token of aborted) if (tokens.push(token) === 5) controller.abort();
  assert.equal(aborted.finish, "cancelled");
  assert.equal(tokens.length, 5);

  const late = engine.submit(ask(text(4, 20), { ...long, signal: AbortSignal.abort() }));
  assert.deepEqual(await collect(late), []);
  assert.equal(late.finish, "cancelled");
  assert.equal(engine.stats.blocks.used, 0);
});

Deno.test("Engine.stop() ends all requests and waits for the device", async () => {
  const runner = new FakeRunner();
  const engine = new Engine(runner);
  const streams = [1, 2].map((i) => engine.submit(ask(text(i, 20), { maxTokens: 400 })));
  await streams[0]!.next();
  await engine.stop();
  assert.equal(runner.reads, runner.batches.length);
  for (const stream of streams) {
    await collect(stream);
    assert.equal(stream.finish, "cancelled");
  }
  assert.throws(() => engine.submit(ask([1])), /Cannot submit: the engine was stopped/);
  await engine.stop();
});

Deno.test("Engine reports an error of the runner to every request, and to later ones", async () => {
  for (const place of ["onSubmit", "onRead"] as const) {
    const runner = new FakeRunner({ maxSequences: 2 });
    const lost = new DeviceError("lost", "Cannot continue: the device was lost");
    runner[place] = (count) => {
      if (count >= 5) throw lost;
    };
    const engine = new Engine(runner);
    const streams = [1, 2, 3].map((i) => engine.submit(ask(text(i, 20))));
    const results = await Promise.allSettled(streams.map(collect));
    assert.deepEqual(results.map((r) => r.status === "rejected" && r.reason), [lost, lost, lost]);
    assert.deepEqual(streams.map(({ finish }) => finish), Array(3).fill(undefined));
    assert.throws(() => engine.submit(ask([1])), lost);
    await assert.rejects(engine.generate([ask([1])]), lost);
    await engine.stop();
    assert.equal(runner.reads, runner.batches.length);
  }
});

Deno.test("Engine.generate() cancels the requests before a refused one", async () => {
  const engine = new Engine(new FakeRunner());
  await assert.rejects(
    engine.generate([ask(text(1, 9)), ask([VOCAB])]),
    /Cannot accept the token ids/,
  );
  assert.deepEqual([engine.stats.running, engine.stats.waiting], [0, 0]);
});

Deno.test("Engine refuses a signal that is no AbortSignal, and serves later requests", async () => {
  const engine = new Engine(new FakeRunner());
  for (const signal of ["x", "", {}, new AbortController()] as unknown as AbortSignal[]) {
    const message = /: signal is not an AbortSignal$/;
    const refused = { name: "RequestError", option: "signal", message };
    assert.throws(() => engine.submit({ ...ask(text(1, 9)), signal }), refused);
    await assert.rejects(engine.score(text(1, 9), { signal }), refused);
  }
  assert.deepEqual([engine.stats.running, engine.stats.waiting], [0, 0]);
  const later = ask(text(1, 9));
  assert.deepEqual((await collect(engine.submit(later))).map(({ id }) => id), answer(later));
  assert.equal((await engine.score(text(1, 9))).positions.length, 9);
});

Deno.test("Engine completes a request when the cache cannot grow: other requests are preempted", async () => {
  const runner = new FakeRunner({ blocks: 2 }).growing(5);
  const engine = new Engine(runner, { maxBlocks: [20] });
  const big = engine.submit(ask(text(1, 40), { maxTokens: 80 })); // 119 tokens: 8 blocks
  const small = engine.submit(ask(text(2, 60))); // 71 tokens: 5 blocks
  const far = engine.submit(ask(text(3, 30), { maxTokens: 200, stopIds: [5] }));
  const tooLong = engine.submit(ask(text(4, 90)));
  const failed = assert.rejects(collect(tooLong), (error) => {
    assert.ok(error instanceof DeviceError && error.kind === "out-of-memory");
    assert.match(error.message, /^Cannot serve a prompt of 90 tokens: .* beyond 5 blocks of 16/);
    return true;
  });
  // The cache has 80 positions, and the last token never enters.
  const [ids] = (await Promise.all([big, small, far].map(collect))).map((tokens) =>
    tokens.map(({ id }) => id)
  );
  assert.deepEqual(ids, answer(ask(text(1, 40), { maxTokens: 41 })));
  assert.deepEqual([big, small, far].map(({ finish }) => finish), ["length", "length", "stop"]);
  assert.deepEqual(
    [small, far].map(({ sequence }) => sequence.tokens.slice(sequence.promptLength)),
    [small, far].map(({ sequence }) => answer(sequence.request)),
  );
  await failed;
  assert.equal(engine.stats.blocks.used, 0);
  assert.throws(() => engine.submit(ask(text(1, 81))), /the KV cache has room for 80/);
});

Deno.test("Engine refuses what its runner would refuse, whatever its options, and serves other requests", async () => {
  const runner = new FakeRunner({ blocks: 3 }, 40);
  const engine = new Engine(runner, { contextLength: 100, maxBlocks: [2.5] });
  assert.throws(
    () => engine.submit(ask(text(1, 40))),
    /has room for 40, at least one of them for the answer; shorten it$/,
  );
  assert.throws(() => engine.submit(ask(text(1, 33))), /the KV cache has room for 32/);
  const fits = ask(text(1, 20));
  assert.deepEqual((await collect(engine.submit(fits))).map(({ id }) => id), answer(fits));
  assert.equal(engine.stats.blocks.total, 2);
});

Deno.test("Engine answers every next() of a stream with a token or the end, however many wait at once", async () => {
  const engine = new Engine(new FakeRunner());
  const request = ask(text(1, 5), { maxTokens: 3 });
  const stream = engine.submit(request);
  const results = await Promise.all([1, 2, 3, 4, 5].map(() => stream.next()));
  assert.deepEqual(results.map(({ value }) => value?.id), [
    ...answer(request),
    undefined,
    undefined,
  ]);
  assert.deepEqual(results.map(({ done }) => done), [false, false, false, true, true]);
  const broken = engine.submit(ask(text(2, 5), { maxTokens: 300 }));
  await broken.next();
  const waiting = [broken.next(), broken.next()];
  await engine.stop();
  while (!(await broken.next()).done);
  await Promise.all(waiting);
});

Deno.test("Engine uses the default sampling and length for a request with a prompt only", async () => {
  const runner = new FakeRunner();
  const seeds = [];
  for (const length of [4, 5]) {
    const [{ ids }] = await new Engine(runner).generate([{ promptIds: text(1, length) }]) as [
      Generation,
    ];
    assert.equal(ids.length, DEFAULT_MAX_TOKENS);
    const { seed, ...rest } = runner.batches.at(-1)!.sequences[0]!.sampling!;
    assert.deepEqual(rest, DEFAULT_SAMPLING);
    seeds.push(seed);
  }
  assert.notEqual(seeds[0], seeds[1]);
});

Deno.test("Engine returns the requested log-probabilities of tokens and alternatives", async () => {
  const engine = new Engine(new FakeRunner(), { steps: 8 });
  const request = ask(text(1, 5), { logprobs: 3, maxTokens: 4 });
  const tokens = await collect(engine.submit(request));
  assert.equal(tokens.length, 4);
  // The fake runner gives the sampled token half of the probability, and shares the rest equally.
  for (const { id, logprobs } of tokens) {
    const others = [0, 1, 2].filter((other) => other !== id).slice(0, 2);
    assert.deepEqual(logprobs!.top.map((entry) => entry.id), [id, ...others]);
    assert.ok(Math.abs(logprobs!.logprob - Math.log(0.5)) < 1e-6);
    assert.ok(Math.abs(logprobs!.top[1]!.logprob - Math.log(0.5 / (VOCAB - 1))) < 1e-6);
  }
  const [plain] = await collect(engine.submit(ask(text(1, 5), { maxTokens: 1 })));
  assert.ok(!("logprobs" in plain!));
});

Deno.test("Engine lets timers run while the device keeps it busy", async () => {
  const runner = new FakeRunner({ blocks: 200 });
  runner.onRead = () => {
    for (const end = performance.now() + 2; performance.now() < end;);
  };
  const engine = new Engine(runner);
  const stream = engine.submit(ask(text(1, 5), { maxTokens: 3000 }));
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  for await (const token of stream) if (token.index === 100) break;
  clearInterval(timer);
  assert.ok(ticks > 20, `${ticks} ticks in 100 steps`);
  await engine.stop();
});

Deno.test("Engine updates how much of a prompt has entered as steps are read, including the cached part", async () => {
  const runner = new FakeRunner({ maxSequences: 1, maxBatchTokens: 16 });
  const engine = new Engine(runner);
  const entered = async () => {
    const seen = new Set<number>();
    const stream = engine.submit(ask(text(1, 40), { maxTokens: 1 }));
    runner.onRead = () => void seen.add(stream.sequence.entered);
    await collect(stream);
    return [...seen, stream.sequence.entered];
  };
  assert.deepEqual(await entered(), [0, 16, 32, 40]);
  assert.deepEqual(await entered(), [32, 40]);
});

Deno.test("Engine refuses options that are not valid numbers", () => {
  const wrong: [EngineOptions, RegExp][] = [
    [{ prefixCacheBlocks: -1 }, /prefixCacheBlocks is -1, not a whole number of at least 0/],
    [{ prefixCacheBlocks: NaN }, /prefixCacheBlocks is NaN/],
    [{ maxBatchTokens: 0 }, /maxBatchTokens is 0, not a whole number of at least 1/],
    [{ contextLength: 1.5 }, /contextLength is 1\.5/],
    [{ steps: 0 }, /steps is 0/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => new Engine(new FakeRunner(), options), (error: Error) => {
      assert.equal(error.name, "RequestError");
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("TokenStream answers concurrent next() calls, and all of them end", async () => {
  const engine = new Engine(new FakeRunner());
  const stream = engine.submit(ask(text(1, 5), { maxTokens: 3 }));
  const results = await Promise.all(Array.from({ length: 6 }, () => stream.next()));
  assert.deepEqual(results.map(({ done }) => done), [false, false, false, true, true, true]);
  const indexes = results.filter(({ done }) => !done).map(({ value }) => value.index);
  assert.deepEqual(indexes.sort(), [0, 1, 2]);
  await engine.stop();
  await engine.stop();
});

Deno.test("Engine without kept keys recomputes all tokens for each new one, with the same answer", async () => {
  const requests = [ask(text(1, 40), { maxTokens: 9 }), ask(text(2, 7), { maxTokens: 5 })];
  const runner = new FakeRunner({ maxBatchTokens: 30 });
  const engine = new Engine(runner, { keep: { keys: false }, steps: 4 });
  const ids = (await engine.generate(requests)).map((one) => one.ids);
  assert.deepEqual(ids, requests.map((request) => answer(request)));
  // For each token of an answer, all tokens before it enter again.
  const sum = (length: number, count: number) => count * length + count * (count - 1) / 2;
  const entered = runner.batches.flatMap(({ sequences }) => sequences.map((s) => s.tokens!.length));
  assert.equal(entered.reduce((a, b) => a + b), sum(40, 9) + sum(7, 5));
  assert.ok(runner.batches.every(({ steps, anew }) => steps === 1 && anew === undefined));
  assert.equal(engine.stats.prefix.hits + engine.stats.preemptions, 0);
  // A cache with room for only one of the requests.
  const tight = new Engine(new FakeRunner({ blocks: 4 }), { keep: { keys: false } });
  assert.deepEqual((await tight.generate(requests)).map((one) => one.ids), ids);
});

Deno.test("Engine tells the runner what each step must recreate", async () => {
  const runner = new FakeRunner();
  await new Engine(runner, { keep: { weights: false } }).generate([ask(text(1, 4))]);
  for (const { anew } of runner.batches) assert.deepEqual(anew, { weights: true, buffers: false });
});
