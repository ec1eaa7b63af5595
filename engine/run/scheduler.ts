/**
 * Decides what each step computes: continuous batching with chunked prefill over a paged KV cache,
 * and preemption by recomputation. It uses neither a device nor a clock.
 *
 * A step may be scheduled before the last one is read. `computed` and `pending` of a sequence
 * already include the steps in flight. Steps run in order, so a block that one request frees can be
 * allocated to another at once.
 *
 * Why it never stalls: running sequences are served in order of arrival. If no block is free, the
 * last of them is preempted, so the first one advances in every step. If it is the only one left,
 * it can use every block, and these are enough (`add` and `grown` shorten it to what fits).
 *
 * Sources: Yu et al. 2022 (Orca), Kwon et al. 2023 (PagedAttention), Agrawal et al. 2024
 * (Sarathi-Serve).
 */

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
import { cacheTooSmall, type FinishReason, type GenerationRequest, Sequence } from "./sequence.ts";

/** A slot and blocks that the scheduler does not use until they are returned. */
export interface BorrowedRoom {
  readonly slot: number;
  /** Number of tokens for which there is room. */
  readonly tokens: number;
  /** Numbers of the blocks, by group of layers; see `tablesOver`. */
  readonly blocks: readonly (readonly number[])[];
}

/** A step to submit: first `copies`, then `batch`, whose rows belong to `sequences`. */
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
  /** Copies that run before the step being scheduled. */
  #copies: BlockCopy[] = [];

  /** @throws {RequestError} if an option is invalid, as `checkOptions` does. */
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

  /** How often a running sequence was preempted. */
  get preemptions(): number {
    return this.#preemptions;
  }

  /**
   * Queues a request.
   *
   * It ends early, as at the end of the context, where all blocks together have no more room.
   *
   * @throws {RequestError} if it can never be served: it is empty, has ids outside the vocabulary,
   * or its prompt is too long for the context or for all blocks together.
   */
  add(request: GenerationRequest): Sequence {
    const sequence = new Sequence(request, this.#arrivals++, this.options);
    const room = this.#roomFor(sequence);
    if (room < sequence.promptLength) throw cacheTooSmall(sequence.promptLength, room);
    sequence.shorten(room + 1);
    insertByArrival(this.#waiting, sequence);
    return sequence;
  }

  /**
   * Returns the next step, or undefined if nothing can run before a step in flight is read or the
   * cache has grown. A sequence that needs the cache to grow is left out.
   */
  schedule(): Plan | undefined {
    const batch: { sequence: Sequence; count: number }[] = [];
    let budget = this.options.maxBatchTokens;
    this.#copies = [];

    // Decoding sequences come first, with one token each. A long prompt uses the rest of the token
    // budget, so it stalls none of them. A preempted sequence is always the last one running, so it
    // is not in the batch yet.
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
    // Released only now, so that no copy's source is another copy's target.
    for (const { group, from } of this.#copies) this.blocks.release(group, [from]);
    return batch.length > 0 ? this.#plan(batch) : undefined;
  }

  /**
   * Appends a token that a step sampled for this sequence. Does nothing and returns false if the
   * sequence has already ended.
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

  /** Ends a waiting or running sequence. Ending it again does nothing. */
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
   * Updates a group's number of blocks after the device tried to grow it. Shortens the requests
   * that will never fit into the cache, and returns those that thereby have all their tokens.
   */
  grown(group: number, blocks: number): Sequence[] {
    this.blocks.grown(group, blocks);
    return [...this.#running, ...this.#waiting].filter((sequence) =>
      sequence.shorten(this.#roomFor(sequence) + 1)
    );
  }

  /**
   * Lends a slot and the blocks for one text of up to `tokens` tokens, for work outside the
   * schedule. All steps must have been read before, and nothing may be scheduled until `giveBack`.
   * Preempts running sequences if there is no room otherwise. Returns undefined if the cache must
   * grow first.
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

  /** Returns the slot and blocks that `borrow` lent. */
  giveBack({ slot, blocks }: BorrowedRoom): void {
    for (const [group, own] of blocks.entries()) this.blocks.release(group, own);
    this.#freeSlots.push(slot);
  }

  /**
   * Allocates blocks for all positions below `end`, preempting the last running sequences if
   * needed. Returns false if this sequence itself was preempted, the last running one is in the
   * batch already, or the cache must grow first.
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

  /** Moves the last running sequence back to the queue; only its tokens are kept. */
  #preemptLast(): void {
    const last = this.#running.at(-1)!;
    this.#stepBack(last);
    last.preemptions++;
    this.#preemptions++;
  }

  /** Moves a running sequence back to the queue and frees its slot and blocks. */
  #stepBack(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.#vacate(sequence);
    insertByArrival(this.#waiting, sequence);
  }

  /**
   * Allocates a slot for the first waiting sequence, and the blocks for all its tokens and the next
   * one, except those of its cached prefix. So only decoding can run out of blocks. Groups of
   * layers with a window get their blocks as tokens enter.
   */
  #admit(sequence: Sequence): boolean {
    // Tokens that were in flight when it was preempted must be read before they can be recomputed.
    if (this.#running.length >= this.#maxRunning || sequence.pending > 0) return false;
    const { blocks } = this, { cache } = blocks;
    const tokens = sequence.tokens;
    let found = cache.match(tokens);
    if (cache.enabled && this.#isComing(tokens, (found.length + 1) * BLOCK_TOKENS)) return false;

    const needed = blocksFor(Math.min(tokens.length + 1, sequence.maxLength - 1));
    // Even if all tokens are cached, the last one must be computed to sample the next one. It would
    // write to a shared block, so copy that block first. If there is no room for the copy, compute
    // the whole block again.
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

  /**
   * Returns how many of its tokens fit into the cache if it runs alone. The last token of a sequence
   * is never an input, so it needs no room.
   */
  #roomFor({ maxLength }: Sequence): number {
    const { maxBatchTokens: entering } = this.options;
    return this.blocks.longestAlone({ tokens: maxLength - 1, entering });
  }

  /** Whether a running sequence is computing the first `end` of these tokens, so waiting pays. */
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

  /** Returns how many steps to chain, and allocates the blocks for them. */
  #chain(batch: readonly { sequence: Sequence; count: number }[]): number {
    let steps = this.#steps;
    for (const { sequence } of batch) {
      const { logprobs } = sequence.request;
      if (sequence.left > 1 || logprobs !== undefined || sequence.penalized) return 1;
      const { length, minLength, maxLength } = sequence;
      const end = length < minLength ? Math.min(minLength, maxLength) : maxLength;
      steps = Math.min(steps, end - length);
    }
    if (steps === 1) return 1;
    // If one lacks room, the others keep their blocks for later steps.
    const room = batch.every(({ sequence }) =>
      this.blocks.extend(sequence.blocks, sequence.computed + steps)
    );
    return room ? steps : 1;
  }

  /** Adds the blocks that are full of known tokens to the prefix cache. */
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

  /** Frees the slot and blocks of a sequence that was removed from `#running`. */
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
