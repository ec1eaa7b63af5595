import assert from "node:assert/strict";
import { RequestError } from "../../engine/errors.ts";
import { KvBlocks, type KvGroupOptions } from "../../engine/run/kv_blocks.ts";
import { type Plan, Scheduler } from "../../engine/run/scheduler.ts";
import type { SchedulerOptions } from "../../engine/run/scheduler_options.ts";
import type { GenerationRequest, Sequence } from "../../engine/run/sequence.ts";

const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 };

function make(
  blocks: number,
  options: Partial<SchedulerOptions> = {},
  more: readonly KvGroupOptions[] = [],
): Scheduler {
  return new Scheduler(new KvBlocks([{ blocks }, ...more], { share: true }), {
    maxBatchTokens: 64,
    maxSequences: 8,
    contextLength: 200,
    vocabSize: 1000,
    ...options,
  });
}

/** Returns a request whose prompt is the ids `first`, `first + 1`, …, of `length` tokens. */
function ask(first: number, length: number, more: Partial<GenerationRequest> = {}) {
  const promptIds = Array.from({ length }, (_, i) => first + i);
  return { promptIds, sampling, maxTokens: 10, stopIds: [], ...more };
}

/** Schedules and pretends that every row sampled `token`. */
function step(scheduler: Scheduler, token = 0): Plan | undefined {
  const plan = scheduler.schedule();
  if (plan) read(scheduler, plan, token);
  return plan;
}

function read(scheduler: Scheduler, plan: Plan, token = 0): void {
  for (const [row, sequence] of plan.sequences.entries()) {
    const sampled = plan.batch.sequences[row]!.sampling ? plan.batch.steps! : 0;
    for (let i = 0; i < sampled; i++) scheduler.append(sequence, token, 0);
  }
}

/** Returns the sequences of a plan, each with the number of its tokens that enter. */
function entering(plan: Plan | undefined): [Sequence, number][] {
  return plan!.batch.sequences.map((row, i) => [plan!.sequences[i]!, row.tokens?.length ?? 1]);
}

Deno.test("Scheduler includes every decode in every step, and gives the rest to a long prompt", () => {
  const scheduler = make(64, { maxBatchTokens: 20 });
  const a = scheduler.add(ask(0, 5)), b = scheduler.add(ask(100, 5));
  assert.deepEqual(entering(step(scheduler)), [[a, 5], [b, 5]]);
  const long = scheduler.add(ask(300, 50));
  assert.deepEqual(entering(step(scheduler)), [[a, 1], [b, 1], [long, 18]]);
  assert.deepEqual(entering(step(scheduler)), [[a, 1], [b, 1], [long, 18]]);
  const plan = step(scheduler);
  assert.deepEqual(entering(plan), [[a, 1], [b, 1], [long, 14]]);
  // Only the last chunk samples.
  assert.deepEqual(plan!.batch.sequences.map((row) => row.sampling), [
    sampling,
    sampling,
    sampling,
  ]);
  assert.deepEqual(entering(step(scheduler)), [[a, 1], [b, 1], [long, 1]]);
});

Deno.test("Scheduler serves requests in order of arrival", () => {
  const scheduler = make(64, { maxSequences: 1 });
  const sequences = Array.from({ length: 4 }, () => scheduler.add(ask(0, 5, { maxTokens: 1 })));
  const order = sequences.map(() => step(scheduler)!.sequences[0]);
  assert.deepEqual(order, sequences);
});

Deno.test("Scheduler preempts the last request to arrive, and resumes it", () => {
  // Three prompts of 31 tokens need two blocks each, and a third one after two more tokens.
  const scheduler = make(7, { maxBatchTokens: 100 });
  const a = scheduler.add(ask(100, 31)), b = scheduler.add(ask(200, 31));
  const last = scheduler.add(ask(0, 31));
  assert.deepEqual(step(scheduler)!.sequences, [a, b, last]);
  assert.deepEqual(step(scheduler)!.sequences, [a, b, last]);
  // Now `a` and `b` need a third block, and one is free: `a` gets it, and `b` gets one of `last`.
  assert.deepEqual(step(scheduler)!.sequences, [a, b]);
  assert.deepEqual(scheduler.waiting, [last]);
  assert.deepEqual([a.preemptions, b.preemptions, last.preemptions], [0, 0, 1]);
  while (!b.finish) step(scheduler);
  // The first block of `last` is still cached. Its two sampled tokens are recomputed with its
  // prompt, not sampled again.
  const plan = step(scheduler)!;
  assert.deepEqual(entering(plan), [[last, 17]]);
  assert.deepEqual(plan.batch.sequences[0]!.prior, last.tokens.slice(0, 16));
  assert.equal(scheduler.blocks.cache.stats.hits, 0); // Only prefixes of other requests count.
  while (!last.finish) step(scheduler);
  assert.equal(last.tokens.length, 41);
  assert.equal(scheduler.blocks.stats[0]!.used, 0);
});

Deno.test("Scheduler schedules ahead with tokens not yet read, but not past a known end", () => {
  const scheduler = make(8);
  const a = scheduler.add(ask(0, 5, { maxTokens: 2 })), b = scheduler.add(ask(100, 5));
  const first = scheduler.schedule()!;
  const second = scheduler.schedule()!;
  assert.deepEqual(second.sequences, [a, b]);
  assert.deepEqual(second.batch.sequences.map((row) => row.tokens), [null, null]);
  const third = scheduler.schedule()!;
  assert.deepEqual(third.sequences, [b]);
  for (const plan of [first, second, third]) read(scheduler, plan, 7);
  assert.equal(a.finish, "length");
  assert.deepEqual(b.tokens.slice(5), [7, 7, 7]);
  // All steps were read, so the token is given by its id again.
  assert.deepEqual(scheduler.schedule()!.batch.sequences[0]!.tokens, [7]);
});

Deno.test("Scheduler drops tokens sampled past a stop token", () => {
  const scheduler = make(8, { steps: 4 });
  const sequence = scheduler.add(ask(0, 5, { stopIds: [7] }));
  step(scheduler);
  const ahead = [scheduler.schedule()!, scheduler.schedule()!];
  assert.deepEqual(ahead.map((plan) => plan.batch.steps), [4, 4]);
  for (const plan of ahead) read(scheduler, plan, 7);
  assert.deepEqual(sequence.tokens.slice(5), [0, 7]);
  assert.equal(sequence.finish, "stop");
  assert.equal(scheduler.schedule(), undefined);
});

Deno.test("Scheduler chains decodes only, up to the first known end, and not for logprobs", () => {
  const scheduler = make(32, { steps: 8 });
  scheduler.add(ask(0, 5, { maxTokens: 7 }));
  assert.equal(step(scheduler)!.batch.steps, 1);
  assert.equal(step(scheduler)!.batch.steps, 6);
  scheduler.add(ask(0, 5, { maxTokens: 20 }));
  step(scheduler);
  assert.equal(step(scheduler)!.batch.steps, 8);
  scheduler.add(ask(50, 5, { maxTokens: 20, logprobs: 2 }));
  for (let i = 0; i < 3; i++) assert.equal(step(scheduler)!.batch.steps, 1);
});

Deno.test("Scheduler runs a single step if there are no blocks for chained ones", () => {
  const scheduler = make(2, { steps: 8 });
  const a = scheduler.add(ask(0, 10, { maxTokens: 22 })), b = scheduler.add(ask(100, 10));
  step(scheduler);
  assert.deepEqual([a.blocks.tables[0]!.length, b.blocks.tables[0]!.length], [1, 1]);
  assert.equal(step(scheduler)!.batch.steps, 1);
});

Deno.test("Scheduler delays a request until another one has computed its prefix", () => {
  const scheduler = make(64, { maxBatchTokens: 30 });
  const a = scheduler.add(ask(0, 40)), b = scheduler.add(ask(0, 37));
  // 32 tokens are shared. `b` waits for them although the step has room for it.
  assert.deepEqual(entering(step(scheduler)), [[a, 30]]);
  assert.deepEqual(entering(step(scheduler)), [[a, 10]]);
  assert.deepEqual(entering(step(scheduler)), [[a, 1], [b, 5]]);
  assert.deepEqual(b.blocks.tables[0]!.slice(0, 2), a.blocks.tables[0]!.slice(0, 2));
  assert.deepEqual(scheduler.blocks.cache.stats, {
    hits: 2,
    misses: 2,
    prefixHits: 1,
    tokensSaved: 32,
    blocksShared: 2,
  });
});

Deno.test("Scheduler copies the last block of a full hit and recomputes its last token", () => {
  const scheduler = make(64);
  const a = scheduler.add(ask(0, 80));
  step(scheduler), step(scheduler);
  const b = scheduler.add(ask(0, 80));
  const plan = step(scheduler)!;
  const row = plan.batch.sequences[1]!;
  assert.deepEqual([row.tokens, row.start], [[79], 79]);
  // The sampler receives the tokens before it.
  assert.deepEqual(row.prior, Array.from({ length: 79 }, (_, i) => i));
  assert.deepEqual(plan.copies, [{
    group: 0,
    from: a.blocks.tables[0]![4],
    to: b.blocks.tables[0]![4],
  }]);
  assert.notEqual(a.blocks.tables[0]![4], b.blocks.tables[0]![4]);
  assert.deepEqual(a.blocks.tables[0]!.slice(0, 4), b.blocks.tables[0]!.slice(0, 4));
  assert.equal(scheduler.blocks.cache.stats.tokensSaved, 79);
});

Deno.test("Scheduler recomputes the last block of a full hit if there is no room for a copy", () => {
  const scheduler = make(2);
  const request = ask(0, 32, { maxTokens: 1 });
  scheduler.add(request);
  step(scheduler);
  const again = scheduler.add(request);
  const plan = step(scheduler)!;
  assert.deepEqual([plan.copies, plan.batch.sequences[0]!.start], [[], 16]);
  assert.equal(again.finish, "length");
  assert.equal(scheduler.blocks.cache.stats.tokensSaved, 16);
});

Deno.test("Scheduler reuses the cache of a conversation up to the last answer", () => {
  const scheduler = make(64);
  const first = scheduler.add(ask(0, 30, { maxTokens: 20 }));
  let last = scheduler.schedule()!;
  while (!first.finish) {
    const next = scheduler.schedule(); // Before the last one is read.
    read(scheduler, last, 5);
    if (next) last = next;
  }
  // 49 tokens have entered, 3 full blocks; the 50th was sampled and never entered.
  const second = scheduler.add({ ...ask(0, 0), promptIds: [...first.tokens, 9, 9] });
  assert.equal(step(scheduler)!.batch.sequences[0]!.start, 48);
  assert.equal(second.blocks.tables[0]!.length, 4);
});

Deno.test("Scheduler.add() refuses a request that can never be served, with the reason", () => {
  const scheduler = make(4);
  const refused = (request: GenerationRequest, reason: RegExp) =>
    assert.throws(() => scheduler.add(request), (error) => {
      assert.ok(error instanceof RequestError);
      assert.match(error.message, /^Cannot (accept the|answer a prompt)/);
      assert.match(error.message, reason);
      return true;
    });
  refused(ask(0, 0), /its prompt has no tokens/);
  refused(
    ask(0, 200),
    /prompt of 200 tokens: the context has room for 200, at least one of them for the answer; shorten it$/,
  );
  refused(ask(998, 3), /the id at index 2 is 1000; valid ids are 0 to 999/);
  refused({ ...ask(0, 1), promptIds: [1, 1.5] }, /the id at index 1 is 1.5/);
  refused(ask(0, 5, { maxTokens: 0 }), /maxTokens is 0/);
  refused(ask(0, 5, { logprobs: 1.5 }), /logprobs is 1\.5/);
  refused(ask(0, 5, { logprobs: -1 }), /logprobs is -1/);
  const sampling = { ...ask(0, 5).sampling, logitBias: new Map([[1000, 1]]) };
  assert.throws(() => scheduler.add({ ...ask(0, 5), sampling }), /a token id below 1000/);
  // 65 tokens need a fifth block.
  refused(
    ask(0, 65),
    /prompt of 65 tokens: the KV cache has room for 64; shorten it, or .*--kv-memory/,
  );
  assert.throws(() => scheduler.add(ask(0, 65)), { kind: "too-long" });
  assert.equal(scheduler.waiting.length, 0);
});

Deno.test("Scheduler ends a request early if all blocks together have no room for its maxTokens", () => {
  const scheduler = make(4, { steps: 8 });
  // The last token never enters, so four blocks have room for a text of 65 tokens.
  for (const [length, generated] of [[64, 1], [56, 9], [5, 60]] as const) {
    const sequence = scheduler.add(ask(0, length, { maxTokens: 100, minTokens: 90 }));
    for (let steps = 0; !sequence.finish; steps++) {
      assert.ok(steps <= generated, "does not end");
      step(scheduler);
    }
    assert.equal(sequence.finish, "length");
    assert.equal(sequence.tokens.length, length + generated);
    assert.equal(scheduler.blocks.stats[0]!.used, 0);
  }
  // A window's blocks limit a text, too, if they are fewer than it holds.
  const windowed = make(8, { maxBatchTokens: 16 }, [{ window: 40, blocks: 3 }]);
  assert.equal(windowed.add(ask(0, 10, { maxTokens: 100 })).maxLength, 49);
  const fits = make(8, { maxBatchTokens: 16 }, [{ window: 20, blocks: 6 }]);
  assert.equal(fits.add(ask(0, 10, { maxTokens: 100 })).maxLength, 110);
});

Deno.test("Scheduler lends a slot and blocks, and preempts running sequences for them, the last first", () => {
  const scheduler = make(6, { maxSequences: 3 });
  const a = scheduler.add(ask(0, 15)), b = scheduler.add(ask(100, 15));
  step(scheduler);
  // One slot and four blocks are free.
  const borrow = (tokens: number) => {
    const { slot, tokens: room, blocks } = scheduler.borrow({ tokens, entering: 32 })!;
    scheduler.giveBack({ slot, tokens: room, blocks });
    return { slot, room, blocks: blocks[0]! };
  };
  const small = borrow(40);
  assert.deepEqual([small.room, small.blocks.length, scheduler.running.length], [40, 3, 2]);
  for (const { slot, blocks: { tables } } of [a, b]) {
    assert.ok(slot !== small.slot && !tables[0]!.some((block) => small.blocks.includes(block)));
  }
  const large = borrow(80);
  assert.deepEqual([large.room, large.blocks.length, scheduler.running], [80, 5, [a]]);
  assert.deepEqual(scheduler.waiting, [b]);
  // Never more tokens than the context has or all blocks have room for.
  const all = borrow(1000);
  assert.deepEqual([all.room, all.blocks.length, scheduler.waiting], [96, 6, [a, b]]);
  while (!(a.finish && b.finish)) step(scheduler);
  assert.deepEqual([a.tokens.length, b.tokens.length], [25, 25]);
  assert.equal(scheduler.blocks.stats[0]!.used, 0);
  const { tokens } = make(64, { contextLength: 30 }).borrow({ tokens: 1000, entering: 32 })!;
  assert.equal(tokens, 30);
});

Deno.test("Scheduler ends a sequence at the end of the context", () => {
  const scheduler = make(64, { contextLength: 12 });
  const sequence = scheduler.add(ask(0, 9));
  while (!sequence.finish) step(scheduler);
  assert.deepEqual([sequence.finish, sequence.tokens.length], ["length", 12]);
});

Deno.test("Scheduler refuses options with which nothing could run", () => {
  assert.throws(() => make(4, { maxBatchTokens: 0 }), /maxBatchTokens is 0, not a whole number/);
  assert.throws(() => make(4, { maxSequences: NaN }), RequestError);
  // The runner would refuse a step with these options, which would end the engine.
  assert.throws(() => make(4, { maxBatchTokens: 1.5 }), /maxBatchTokens is 1\.5, not a whole/);
  assert.throws(() => make(4, { contextLength: 9.5 }), /contextLength is 9\.5, not a whole/);
  assert.throws(() => make(4, { steps: 1.5 }), /steps is 1\.5, not a whole number of at least 1/);
  assert.throws(() => make(4, { steps: 9 }), /steps is 9; the maximum is 8/);
});
