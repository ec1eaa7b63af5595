/**
 * Decides what each step computes: continuous batching with chunked prefill over a paged cache,
 * preemption by recomputation. Pure: it knows no device and no clock.
 *
 * A step may be scheduled before the last one is read. What steps in flight will have done is in
 * `computed` and `pending` already; steps run in order, so a block that one request lets go of may
 * be given to another at once.
 *
 * Why it never stalls: running sequences are served in order of arrival, and for want of a block the
 * last of them steps back. So the first advances in every step, and alone it can have every block,
 * which is enough (`add` checks).
 *
 * Sources: Yu et al. 2022 (Orca), Kwon et al. 2023 (PagedAttention), Agrawal et al. 2024
 * (Sarathi-Serve).
 */

import { RequestError } from "../errors.ts";
import { blocksFor } from "./block_manager.ts";
import type { KvBlocks, TextSize } from "./kv_blocks.ts";
import { nextSampling } from "./next_sampling.ts";
import {
  type Batch,
  type BatchSequence,
  BLOCK_TOKENS,
  type BlockCopy,
  REPEAT_HISTORY,
} from "./runner.ts";
import { checkOptions, type SchedulerOptions } from "./scheduler_options.ts";
import { type FinishReason, type GenerationRequest, Sequence } from "./sequence.ts";

/** Room on the device that the scheduler does not use meanwhile. */
export interface BorrowedRoom {
  readonly slot: number;
  /** Tokens that there is room for. */
  readonly tokens: number;
  /** By group of layers; see `tablesOver`. */
  readonly blocks: readonly (readonly number[])[];
}

/** A step to hand to the device: `copies` first, then `batch`, whose rows are `sequences`. */
export interface Plan {
  readonly sequences: readonly Sequence[];
  readonly batch: Batch;
  readonly copies: readonly BlockCopy[];
}

export class Scheduler {
  /** Both in order of arrival. */
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];
  readonly #freeSlots: number[];
  readonly #steps: number;
  readonly #maxRunning: number;
  readonly #keepKeys: boolean;
  #arrivals = 0;
  #preemptions = 0;
  /** Copies that the step being scheduled begins with. */
  #copies: BlockCopy[] = [];

  /** @throws {RequestError} if an option is not a whole number of at least 1, or too many steps. */
  constructor(readonly blocks: KvBlocks, readonly options: SchedulerOptions) {
    checkOptions(options);
    const { maxBatchTokens, maxSequences, steps = 1, keepKeys = true } = options;
    this.#keepKeys = keepKeys;
    this.#steps = keepKeys ? steps : 1;
    // Each running sequence can then always enter at least one token.
    this.#maxRunning = Math.min(maxSequences, maxBatchTokens);
    this.#freeSlots = Array.from({ length: maxSequences }, (_, i) => i).reverse();
  }

  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  /** Times that a running sequence had to step back. */
  get preemptions(): number {
    return this.#preemptions;
  }

  /**
   * Queues a request.
   *
   * @throws {RequestError} if it can never be served: empty, not of this vocabulary, too long for
   * the context or for all blocks together.
   */
  add(request: GenerationRequest): Sequence {
    const sequence = new Sequence(request, this.#arrivals++, this.options);
    const lacking = this.#lacking(sequence);
    if (lacking) {
      throw new RequestError(
        `Cannot accept the request: its ${sequence.maxLength} tokens need ${lacking.needed} blocks ` +
          `of the KV cache, and the limit is ${lacking.budget}; lower maxTokens or raise the KV memory`,
      );
    }
    insertByArrival(this.#waiting, sequence);
    return sequence;
  }

  /**
   * The next step; undefined where nothing can be done before a step in flight is read, or the cache
   * has grown. Who waits for growth is left out.
   */
  schedule(): Plan | undefined {
    const batch: { sequence: Sequence; count: number }[] = [];
    let budget = this.options.maxBatchTokens;
    this.#copies = [];

    // Decodes first, one token each: a long prompt takes what they leave and stalls none of them.
    // A sequence that steps back is the last one running, so it is not in the batch yet.
    for (let i = 0; i < this.#running.length; i++) {
      const sequence = this.#running[i]!;
      if (sequence.left > 1 || sequence.complete) continue;
      if ((sequence.penalized || !this.#keepKeys) && sequence.pending > 0) continue;
      if (!this.#reserve(sequence, sequence.computed + 1, batch)) continue;
      batch.push({ sequence, count: 1 });
      budget--;
    }
    for (let i = 0; i < this.#running.length; i++) {
      const sequence = this.#running[i]!;
      if (sequence.left <= 1 || budget === 0) continue;
      const count = Math.min(sequence.left, budget);
      if (!this.#reserve(sequence, sequence.computed + count, batch)) continue;
      batch.push({ sequence, count });
      budget -= count;
    }
    while (budget > 0) {
      const sequence = this.#waiting[0];
      if (!sequence || !this.#admit(sequence)) break;
      const count = Math.min(sequence.left, budget);
      if (!this.#reserve(sequence, sequence.computed + count, batch)) break;
      batch.push({ sequence, count });
      budget -= count;
    }
    // Held until here, so that no copy's source is another one's target.
    for (const { group, from } of this.#copies) this.blocks.release(group, [from]);
    return batch.length > 0 ? this.#plan(batch) : undefined;
  }

  /**
   * Takes in a token that a step sampled for this sequence; false, and nothing happens, where the
   * sequence ended before it.
   */
  append(sequence: Sequence, token: number, time: number): boolean {
    if (sequence.finish) return false;
    sequence.pending--;
    sequence.tokens.push(token);
    sequence.times.push(time);
    if (sequence.stopIds.has(token)) this.end(sequence, "stop");
    else if (sequence.tokens.length >= sequence.maxLength) this.end(sequence, "length");
    else if (!this.#keepKeys && sequence.slot >= 0) this.#stepBack(sequence);
    return true;
  }

  /** Ends a sequence in whatever state it is. Ending it again does nothing. */
  end(sequence: Sequence, reason: FinishReason): void {
    if (sequence.finish) return;
    sequence.finish = reason;
    if (sequence.slot < 0) {
      this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
    } else {
      this.#running.splice(this.#running.indexOf(sequence), 1);
      this.#publish(sequence);
      this.#vacate(sequence);
    }
  }

  /**
   * Takes in how many blocks of a group the device has, after it was to grow. Requests that the cache
   * can never hold whole are shortened; returns those that have all their tokens by that.
   */
  grown(group: number, blocks: number): Sequence[] {
    this.blocks.grown(group, blocks);
    const { maxBatchTokens: entering } = this.options;
    return [...this.#running, ...this.#waiting].filter((sequence) => {
      const tokens = sequence.maxLength - 1;
      return sequence.shorten(this.blocks.longestAlone({ tokens, entering }) + 1);
    });
  }

  /**
   * A slot, and blocks for a text alone of up to `tokens` tokens, for work beside the schedule: until
   * they are given back nothing may be scheduled, and every step must have been read before. Running
   * sequences step back if there is no room otherwise. Undefined if the cache is to grow first.
   */
  borrow({ tokens, entering }: TextSize): BorrowedRoom | undefined {
    for (;;) {
      const longest = this.blocks.longestAlone({
        tokens: Math.min(tokens, this.options.contextLength),
        entering,
      });
      const size = { tokens: longest, entering };
      const blocks = this.#freeSlots.length > 0 ? this.blocks.allocateAlone(size) : undefined;
      if (blocks) return { slot: this.#freeSlots.pop()!, tokens: longest, blocks };
      if (this.blocks.growth) return undefined;
      if (this.#running.length > 0) this.#preemptLast();
    }
  }

  /** Gives back what `borrow` gave. */
  giveBack({ slot, blocks }: BorrowedRoom): void {
    for (const [group, own] of blocks.entries()) this.blocks.release(group, own);
    this.#freeSlots.push(slot);
  }

  /**
   * Blocks for all positions below `end`; false if there are none: this sequence itself had to step
   * back, or the last one that runs is in the batch already, or the cache is to grow.
   */
  #reserve(
    sequence: Sequence,
    end: number,
    batch: readonly { readonly sequence: Sequence }[],
  ): boolean {
    while (!this.blocks.extend(sequence.blocks, end)) {
      if (this.blocks.growth) return false;
      const last = this.#running.at(-1)!;
      if (batch.some((row) => row.sequence === last)) return false;
      this.#preemptLast();
      if (last === sequence) return false;
    }
    return true;
  }

  /** Sends the last running sequence back to wait; its tokens are kept, their cache is not. */
  #preemptLast(): void {
    const last = this.#running.at(-1)!;
    this.#stepBack(last);
    last.preemptions++;
    this.#preemptions++;
  }

  /** Has a running sequence wait; what the cache has of it is lost. */
  #stepBack(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.#vacate(sequence);
    insertByArrival(this.#waiting, sequence);
  }

  /**
   * Gives the first waiting sequence a slot and the blocks of all its tokens and the next one, less
   * those of its prefix that are cached. So only decoding can run out of blocks. Layers with a window
   * get theirs as tokens enter.
   */
  #admit(sequence: Sequence): boolean {
    // Tokens still in flight when it was preempted have to be read before they can be recomputed.
    if (this.#running.length >= this.#maxRunning || sequence.pending > 0) return false;
    const { blocks } = this, { cache } = blocks;
    const tokens = sequence.tokens;
    let found = cache.match(tokens);
    if (cache.enabled && this.#isComing(tokens, (found.length + 1) * BLOCK_TOKENS)) return false;

    const needed = blocksFor(Math.min(tokens.length + 1, sequence.maxLength - 1));
    // All may be cached, but the last token has to enter for the next one to be sampled. It would
    // write to a shared block, so copy that one; without room for both, compute it anew.
    const full = found.length > 0 && found.length * BLOCK_TOKENS === tokens.length;
    let start = found.length * BLOCK_TOKENS - (full ? 1 : 0);
    let held = blocks.share(found, start);
    const wanted = (copies: number) =>
      held.tables.map((table, group) => group === 0 ? needed - table.length + copies : copies);
    let own = blocks.allocate(wanted(full ? 1 : 0));
    if (full && own) {
      for (const [group, table] of held.tables.entries()) {
        this.#copies.push({ group, from: table.pop()!, to: own[group]![0]! });
      }
    } else if (full) {
      blocks.releaseAll(held);
      found = cache.match(tokens.slice(0, -1));
      start = found.length * BLOCK_TOKENS;
      held = blocks.share(found, start);
      own = blocks.allocate(wanted(0));
    }
    if (!own) {
      blocks.releaseAll(held);
      return false;
    }
    if (sequence.preemptions === 0) {
      cache.record(tokens.length, found, start);
      sequence.cached = start;
    }

    for (const [group, table] of held.tables.entries()) table.push(...own[group]!);
    sequence.blocks = held;
    sequence.computed = start;
    sequence.entered = start;
    sequence.published = found.length;
    sequence.prefix = found.at(-1);
    sequence.slot = this.#freeSlots.pop()!;
    sequence.newInSlot = true;
    this.#waiting.shift();
    insertByArrival(this.#running, sequence);
    return true;
  }

  // The last token of a sequence never enters.
  #lacking({ maxLength }: Sequence) {
    const { maxBatchTokens: entering } = this.options;
    return this.blocks.lacking({ tokens: maxLength - 1, entering });
  }

  /** Whether a running sequence is computing the first `end` of these tokens: worth waiting for. */
  #isComing(tokens: readonly number[], end: number): boolean {
    return end <= tokens.length && this.#running.some((other) => {
      if (other.computed >= end || other.tokens.length < end) return false;
      for (let i = 0; i < end; i++) if (other.tokens[i] !== tokens[i]) return false;
      return true;
    });
  }

  #plan(batch: readonly { sequence: Sequence; count: number }[]): Plan {
    const steps = this.#chain(batch);
    const rows: BatchSequence[] = [];
    for (const { sequence, count } of batch) {
      const { computed: start, tokens, slot, blocks } = sequence;
      const samples = count === sequence.left;
      rows.push({
        slot,
        tokens: sequence.pending > 0 ? null : tokens.slice(start, start + count),
        start,
        blockTables: blocks.tables,
        ...(sequence.newInSlot &&
          { prior: tokens.slice(Math.max(0, start - REPEAT_HISTORY), start) }),
        ...(samples && { sampling: nextSampling(sequence) }),
        ...(samples && sequence.request.logprobs !== undefined && { logits: "last" }),
      });
      sequence.newInSlot = false;
      sequence.computed += count + steps - 1;
      if (samples) sequence.pending += steps;
      this.#publish(sequence);
      this.blocks.releaseUnseen(blocks, sequence.computed);
    }
    return {
      sequences: batch.map((row) => row.sequence),
      batch: { sequences: rows, steps },
      copies: this.#copies,
    };
  }

  /** How many steps to chain, with the blocks for them reserved. */
  #chain(batch: readonly { sequence: Sequence; count: number }[]): number {
    let steps = this.#steps;
    for (const { sequence } of batch) {
      const { logprobs } = sequence.request;
      if (sequence.left > 1 || logprobs !== undefined || sequence.penalized) return 1;
      const { length, minLength, maxLength } = sequence;
      steps = Math.min(steps, (length < minLength ? minLength : maxLength) - length);
    }
    if (steps === 1) return 1;
    // Those that found room keep it for their next steps.
    const room = batch.every(({ sequence }) =>
      this.blocks.extend(sequence.blocks, sequence.computed + steps)
    );
    return room ? steps : 1;
  }

  /** Lets later requests find the blocks that are full of known tokens. */
  #publish(sequence: Sequence): void {
    const { tokens, blocks: { tables, givenBack } } = sequence;
    const known = Math.min(sequence.computed, tokens.length);
    while ((sequence.published + 1) * BLOCK_TOKENS <= known) {
      const index = sequence.published++;
      const blocks = tables.map((table, group) =>
        index < givenBack[group]! ? undefined : table[index]
      );
      sequence.prefix = this.blocks.cache.add(sequence.prefix, tokens, { index, blocks });
    }
  }

  /** Takes slot and blocks from a sequence that left `running`. */
  #vacate(sequence: Sequence): void {
    this.blocks.releaseAll(sequence.blocks);
    this.#freeSlots.push(sequence.slot);
    sequence.slot = -1;
    sequence.blocks = { tables: [], givenBack: [] };
    sequence.computed = 0;
  }
}

function insertByArrival(list: Sequence[], sequence: Sequence): void {
  list.splice(list.findLastIndex((other) => other.arrival < sequence.arrival) + 1, 0, sequence);
}
