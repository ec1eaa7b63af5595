/** Runs the scheduler and the block manager through random histories and checks all invariants. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { RequestError } from "../../engine/errors.ts";
import { kvBlocksHeld } from "../../engine/model/kv_groups.ts";
import { blocksFor } from "../../engine/run/block_manager.ts";
import { KvBlocks } from "../../engine/run/kv_blocks.ts";
import type { StepOutput } from "../../engine/run/runner.ts";
import { type Plan, Scheduler } from "../../engine/run/scheduler.ts";
import type { GenerationRequest, Sequence } from "../../engine/run/sequence.ts";
import { answer, FakeRunner, VOCAB } from "./fake_runner.ts";

const CONTEXT = 100;

const setup = fc.record({
  blocks: fc.integer({ min: 1, max: 9 }),
  growth: fc.constantFrom(0, 0, 1, 6),
  /** Blocks below the budget at which the device refuses to grow. */
  refusal: fc.constantFrom(0, 0, 0, 1, 3),
  keep: fc.constantFrom(0, 2, Infinity, Infinity),
  /** Window of a second group of layers, if there is one. */
  window: fc.constantFrom(undefined, 1, 16, 20, 50),
  maxSequences: fc.integer({ min: 1, max: 5 }),
  maxBatchTokens: fc.integer({ min: 1, max: 40 }),
  steps: fc.constantFrom(1, 1, 2, 5),
  /** Steps that may be in flight when the next one is scheduled. In the engine it is one. */
  ahead: fc.constantFrom(0, 1, 1, 3),
});
type Setup = typeof setup extends fc.Arbitrary<infer T> ? T : never;

const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      /** Prompts are beginnings of one of three texts, so that they share prefixes. */
      text: fc.integer({ min: 0, max: 2 }),
      length: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(16, 32, 48)),
      maxTokens: fc.integer({ min: 1, max: 40 }),
      stops: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("cancel" as const), which: fc.nat({ max: 10 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("step" as const),
      times: fc.integer({ min: 1, max: 9 }),
    }),
  },
);

const texts = [1, 2, 3].map((seed) =>
  Array.from({ length: 70 }, (_, i) => (i * i * seed + i * 7 + (i > 20 ? seed : 0)) % VOCAB)
);

/** The serving loop without its event loop. `check` verifies all counts after every step. */
class World {
  readonly runner: FakeRunner;
  readonly blocks: KvBlocks;
  readonly scheduler: Scheduler;
  readonly sequences: Sequence[] = [];
  readonly #inFlight: { plan: Plan; output: StepOutput }[] = [];
  readonly #windows: readonly number[];
  grown = 0;
  givenBack = 0;
  shortened = 0;
  chained = 0;

  constructor(readonly setup: Setup) {
    const { blocks, keep, window } = setup;
    this.#windows = window === undefined ? [] : [window];
    this.runner = new FakeRunner({ ...setup, blocks }, CONTEXT, this.#windows);
    const groups = [Infinity, ...this.#windows].map((window) => ({
      ...(window !== Infinity && { window }),
      blocks,
      budget: this.#mostBlocks(window),
    }));
    this.blocks = new KvBlocks(groups, { share: keep > 0, keep });
    this.scheduler = new Scheduler(this.blocks, {
      ...setup,
      contextLength: CONTEXT,
      vocabSize: VOCAB,
    });
  }

  submit(request: GenerationRequest): void {
    const { promptIds, maxTokens } = request;
    const wanted = Math.min(promptIds.length + maxTokens!, CONTEXT);
    if (!this.#fits({ maxLength: promptIds.length + 1 })) {
      assert.throws(() => this.scheduler.add(request), RequestError);
      return;
    }
    const sequence = this.scheduler.add(request);
    const { maxLength } = sequence;
    assert.ok(this.#fits({ maxLength }), "longer than the cache");
    assert.ok(maxLength === wanted || !this.#fits({ maxLength: maxLength + 1 }), "too short");
    if (maxLength < wanted) this.shortened++;
    this.sequences.push(sequence);
  }

  /** Returns the most blocks that the engine would allow a group. */
  #mostBlocks(window: number): number {
    const { blocks, growth, maxSequences, maxBatchTokens } = this.setup;
    const tokens = 16 * (blocks + growth);
    const most = { tokens, sequences: maxSequences, entering: maxBatchTokens };
    return Math.max(blocks, kvBlocksHeld({ window }, most));
  }

  /** Whether a single sequence would fit into all groups at their budgets. */
  #fits({ maxLength }: { readonly maxLength: number }): boolean {
    const alone = { tokens: maxLength - 1, sequences: 1, entering: this.setup.maxBatchTokens };
    return [Infinity, ...this.#windows].every((window, group) =>
      kvBlocksHeld({ window }, alone) <= this.blocks.stats[group]!.budget
    );
  }

  /** Runs a step. Returns false if nothing is left to do. */
  step(): boolean {
    const plan = this.scheduler.schedule();
    if (plan) {
      this.runner.copyBlocks(plan.copies);
      if (plan.batch.steps! > 1) this.chained++;
      this.#inFlight.push({ plan, output: this.runner.submitNow(plan.batch) });
    }
    const grew = this.#grow();
    if (this.#inFlight.length > (plan ? this.setup.ahead : 0)) {
      const { plan, output } = this.#inFlight.shift()!;
      for (const [row, sequence] of plan.sequences.entries()) {
        for (const token of output.tokens[row]!) this.scheduler.append(sequence, token, 0);
      }
    } else if (!plan) return grew;
    return true;
  }

  /** If growth is requested, grows as far as the device allows. Returns whether it was. */
  #grow(): boolean {
    const { growth } = this.blocks;
    if (!growth) return false;
    const { group, blocks: wanted } = growth;
    const now = this.runner.limits.blocks[group]!;
    const most = this.#mostBlocks([Infinity, ...this.#windows][group]!);
    assert.ok(wanted > now && wanted <= most, "growth asked for");
    const got = Math.max(now, Math.min(wanted, most - this.setup.refusal));
    const all = this.runner.limits.blocks.with(group, got);
    this.runner.limits = { ...this.runner.limits, blocks: all };
    this.grown++;
    const lengths = this.sequences.map(({ maxLength }) => maxLength);
    for (const sequence of this.scheduler.grown(group, got)) {
      const { tokens, promptLength } = sequence;
      this.scheduler.end(sequence, tokens.length > promptLength ? "length" : "cancelled");
    }
    for (const [i, { maxLength }] of this.sequences.entries()) {
      if (maxLength === lengths[i]) continue;
      assert.ok(!this.#fits({ maxLength: maxLength + 1 }), "shortened although it fits");
      this.shortened++;
    }
    return true;
  }

  check(): void {
    const { running, waiting } = this.scheduler;
    for (const [group, { total, budget, used, kept, free }] of this.blocks.stats.entries()) {
      assert.ok(total <= budget, "budget");
      assert.ok(total <= this.runner.limits.blocks[group]!, "more blocks than the device has");
      assert.ok(kept <= this.setup.keep, "more kept than asked");
      const holders = new Map<number, number>();
      for (const { blocks: { tables, givenBack } } of running) {
        for (const block of tables[group]!.slice(givenBack[group]!)) {
          holders.set(block, (holders.get(block) ?? 0) + 1);
        }
      }
      assert.equal(used, holders.size, "blocks that nobody holds are in use");
      assert.equal(used + kept + free, total);
      for (let block = 0; block < total; block++) {
        const count = holders.get(block) ?? 0;
        assert.equal(this.blocks.references(group, block), count, "reference count");
        assert.ok(
          count < 2 || this.blocks.cache.group(group).has(block),
          "two requests own a block",
        );
      }
    }
    for (const { computed, blocks: { tables, givenBack } } of running) {
      for (const [i, window] of this.#windows.entries()) {
        const held = tables[i + 1]!.length - givenBack[i + 1]!;
        const chunk = tables[i + 1]!.length - Math.floor(computed / 16);
        this.givenBack += givenBack[i + 1]!;
        assert.ok(held <= blocksFor(window - 1) + 1 + Math.max(chunk, 0), "more than the window");
      }
    }
    for (const list of [running, waiting]) {
      for (let i = 1; i < list.length; i++) {
        assert.ok(list[i - 1]!.arrival < list[i]!.arrival, "order");
      }
    }
    for (const { blocks: { tables }, slot } of waiting) {
      assert.ok(slot === -1 && tables.length === 0);
    }
    assert.equal(new Set(running.map(({ slot }) => slot)).size, running.length, "slots");
    const alive = this.sequences.filter(({ finish }) => !finish).length;
    assert.equal(running.length + waiting.length, alive, "a request is lost");
  }

  /** After the last step, checks that answers are right and that every block can be allocated. */
  checkEnd(): void {
    for (const { request, tokens, finish, maxLength } of this.sequences) {
      const expected = answer(request, CONTEXT);
      const got = tokens.slice(request.promptIds.length);
      if (finish === "cancelled") assert.deepEqual(got, expected.slice(0, got.length));
      else assert.deepEqual(got, expected.slice(0, maxLength - request.promptIds.length));
      if (finish === "stop") assert.ok(request.stopIds!.includes(got.at(-1)!));
    }
    for (const { used } of this.blocks.stats) assert.equal(used, 0);
    const budgets = () => this.blocks.stats.map(({ budget }) => budget);
    let all;
    while (!(all = this.blocks.allocate(budgets()))) assert.ok(this.#grow(), "blocks are lost");
    assert.deepEqual(all!.map((blocks) => new Set(blocks).size), budgets());
  }
}

/** Checks the scheduler in `histories` random histories. */
export function checkHistories(histories: number): void {
  const seen = {
    preemptions: 0,
    evictions: 0,
    hits: 0,
    copies: 0,
    grown: 0,
    shortened: 0,
    chained: 0,
    givenBack: 0,
  };
  const finishes = new Set<string | undefined>();
  let requests = 0;

  fc.assert(
    fc.property(setup, fc.array(action, { minLength: 3, maxLength: 16 }), (setup, actions) => {
      const world = new World(setup);
      for (const action of actions) {
        if (action.do === "submit") {
          world.submit({
            promptIds: texts[action.text]!.slice(0, action.length),
            maxTokens: action.maxTokens,
            stopIds: action.stops ? [3, 11] : [],
            sampling: { ...GREEDY, seed: action.text },
          });
        } else if (action.do === "cancel") {
          const sequence = world.sequences[action.which];
          if (sequence) world.scheduler.end(sequence, "cancelled");
        } else {
          for (let i = 0; i < action.times && world.step(); i++) world.check();
        }
        world.check();
      }
      // Some sequence advances in every step, so this ends.
      let left = 16 + world.sequences.reduce((sum, { maxLength }) => sum + 2 * maxLength, 0);
      while (world.step()) {
        world.check();
        assert.ok(left-- > 0, "the history does not end");
      }
      world.checkEnd();

      requests += world.sequences.length;
      for (const { finish } of world.sequences) finishes.add(finish);
      seen.preemptions += world.scheduler.preemptions;
      seen.evictions += world.blocks.stats[0]!.evictions;
      seen.hits += world.blocks.cache.stats.hits;
      seen.copies += world.runner.copies.length;
      seen.grown += world.grown;
      seen.shortened += world.shortened;
      seen.givenBack += world.givenBack;
      seen.chained += world.chained;
    }),
    { numRuns: histories, seed: 20240607 },
  );

  // The histories must have covered every path.
  for (const [what, count] of Object.entries(seen)) {
    assert.ok(count > histories / 100, `${what}: ${count}`);
  }
  assert.ok(requests > 2 * histories);
  assert.deepEqual([...finishes].sort(), ["cancelled", "length", "stop"]);
}

const GREEDY = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1 };
