/** Runs one step on the threads: the embeddings, the layers, and rows of logits. */

import { unpackStripRow } from "../../kernels/wasm/unpack.ts";
import { SEQUENCE } from "../../kernels/wasm/delta_net.ts";
import { TOKEN } from "../../kernels/wasm/rope.ts";
import { OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { type RopeSpec, type RopeTable, ropeTable, temperatureAt } from "../model/rope.ts";
import type { KernelTime, Timing } from "../run/runner.ts";
import { expertProgram } from "./experts.ts";
import { layerProgram, logitsProgram, type Segment, splitsOf } from "./layers.ts";
import type { Model } from "./model.ts";
import type { OperationList, ProgramContext } from "./program.ts";
import { LOGIT_ROWS } from "./scratch.ts";

/** An input token of a step. */
export interface EnteringToken {
  readonly id: number;
  readonly position: number;
  /** Index of the token's sequence in the step. */
  readonly sequence: number;
}

/** A sequence of a step. Its tokens are consecutive. */
export interface EnteringSequence {
  readonly slot: number;
  readonly start: number;
  /** Number of tokens of the sequence in the step. */
  readonly count: number;
  /** Block tables, by group of layers. */
  readonly blockTables: readonly (readonly number[])[];
}

/** A row of logits. */
export interface LogitRow {
  /**
   * May be a view of the threads' memory that is valid until the next step. The caller may change
   * it.
   */
  readonly logits: Float32Array;
  /** Index of the largest logit; of equal ones, the first. */
  readonly best: number;
  readonly finite: boolean;
}

/** Collects the times of kernels. */
export interface StepTiming {
  readonly kind: Timing;
  readonly kernels: KernelTime[];
}

/** How long the threads work before the event loop may run, in ms. */
const PART_MS = 40;

/** Lets other work run. It is called between operations that take long. */
export type Pause = () => Promise<void> | undefined;

export class Stepper {
  readonly #rope: ReadonlyMap<RopeSpec, RopeTable>;
  readonly #row: Float32Array;
  readonly #layerProgram = new LastMade<readonly Segment[]>();
  readonly #logitsProgram = new LastMade<OperationList>();
  /** Returns whether the running step is still wanted. If not, the rest of it is skipped. */
  isWanted: () => boolean = () => true;
  /** Milliseconds per operation and token, as measured on the last operations. */
  #cost = 1;

  constructor(
    readonly context: ProgramContext,
    readonly model: Model,
    readonly options: {
      /** Names of the kernels by index. */
      readonly names: readonly (string | undefined)[];
      readonly pause: Pause;
    },
  ) {
    const { config, weights } = model;
    this.#rope = new Map(
      [...context.scratch.angles.keys()].map((rope) => [
        rope,
        ropeTable(rope, rope.factors ? weights.ropeFactors : undefined),
      ]),
    );
    this.#row = new Float32Array(config.dim);
  }

  /**
   * Runs all layers over `tokens`. The tokens of a sequence must be in order of their positions.
   *
   * @param timing collects the times of kernels, if given
   */
  async forward(
    tokens: readonly EnteringToken[],
    sequences: readonly EnteringSequence[],
    timing?: StepTiming,
  ): Promise<void> {
    const started = performance.now();
    this.#enter(tokens, sequences);
    if (timing) noteTime(timing, "embed", performance.now() - started);
    const few = tokens.length <= this.context.scratch.sizes.sequences;
    const longest = tokens.reduce((most, { position }) => Math.max(most, position + 1), 0);
    const splits = few ? splitsOf(longest) : 1;
    const apart = timing?.kind === "each";
    const shape = { tokens: tokens.length, sequences: sequences.length, splits, apart };
    const program = this.#layerProgram.of(
      shape,
      () => layerProgram(this.context, this.model, shape),
    );
    for (const segment of program) {
      await this.#run(segment, tokens.length, timing);
      if (segment.routes === undefined) continue;
      const experts = expertProgram(this.context, this.model, {
        ...shape,
        layer: segment.routes,
      });
      await this.#run(experts, tokens.length, timing);
    }
  }

  /**
   * Computes the logits after some of the tokens of the last `forward`.
   *
   * @param indices the indices of these tokens in `forward`'s list
   */
  async logits(
    indices: readonly number[],
    timing?: StepTiming,
  ): Promise<LogitRow[]> {
    const { scratch, memory } = this.context;
    const { vocabSize } = this.model.config;
    const all: LogitRow[] = [];
    for (let start = 0; start < indices.length; start += LOGIT_ROWS) {
      const chunk = indices.slice(start, start + LOGIT_ROWS);
      memory.words.set(chunk, scratch.logitRows / 4);
      const shape = { rows: chunk.length, apart: timing?.kind === "each" };
      const program = this.#logitsProgram.of(
        shape,
        () => logitsProgram(this.context, this.model, shape),
      );
      await this.#run(program, chunk.length, timing);
      for (let i = 0; i < chunk.length; i++) {
        const inMemory = memory.floatsAt(scratch.logits + i * scratch.logitsStride, vocabSize);
        // The next chunk overwrites the logits in memory.
        const logits = indices.length > LOGIT_ROWS ? inMemory.slice() : inMemory;
        all.push({ logits, ...pickOf(memory.words, scratch.picks / 4 + 2 * i, logits) });
      }
    }
    return all;
  }

  /**
   * Clears the scratch memory of earlier steps, and discards the lists of operations that they ran.
   */
  clear(): void {
    const { scratch, memory } = this.context;
    scratch.clear(memory);
    scratch.prepare(memory);
    this.#layerProgram.forget();
    this.#logitsProgram.forget();
  }

  /** Runs a list in parts that take about PART_MS, or operation by operation if each is timed. */
  async #run(
    { start, operations }: OperationList,
    tokens: number,
    timing?: StepTiming,
  ): Promise<void> {
    for (let first = 0; first < operations.length && this.isWanted();) {
      const most = timing?.kind === "each"
        ? 1
        : Math.max(1, Math.floor(PART_MS / (this.#cost * tokens)));
      let end = Math.min(operations.length, first + most);
      while (!operations[end - 1]!.joins) end++;
      const started = performance.now();
      this.context.pool.run(start + first * OPERATION_BYTES, end - first);
      const milliseconds = performance.now() - started;
      this.#cost = milliseconds / ((end - first) * tokens);
      if (timing) {
        noteTime(timing, this.options.names[operations[first]!.kernel] ?? "", milliseconds);
      }
      first = end;
      await this.options.pause();
    }
  }

  #enter(
    tokens: readonly EnteringToken[],
    sequences: readonly EnteringSequence[],
  ): void {
    const { scratch, memory } = this.context;
    const { config: { embeddingScale }, weights } = this.model;
    tokens.forEach(({ id, position, sequence }, t) => {
      unpackStripRow(memory.view, weights.embedding, { row: id, out: this.#row });
      const hidden = (scratch.hidden + t * scratch.hiddenStride) / 4;
      for (let i = 0; i < this.#row.length; i++) {
        memory.floats[hidden + i] = this.#row[i]! * embeddingScale;
      }
      for (const [rope, { frequencies, magnitude }] of this.#rope) {
        const { cos, sin } = scratch.angles.get(rope)!;
        const at = t * frequencies.length;
        for (let i = 0; i < frequencies.length; i++) {
          memory.floats[cos / 4 + at + i] = Math.cos(position * frequencies[i]!) * magnitude;
          memory.floats[sin / 4 + at + i] = Math.sin(position * frequencies[i]!) * magnitude;
        }
      }
      for (const [temperature, table] of scratch.temperatures) {
        memory.floats[table / 4 + t] = temperatureAt({ temperature }, position);
      }
      const { sizes, tableBlocks } = scratch;
      sequences[sequence]!.blockTables.forEach((_, group) => {
        const meta = (scratch.tokens + (group * sizes.tokens + t) * TOKEN.bytes) / 4;
        memory.words[meta + TOKEN.position / 4] = position;
        memory.words[meta + TOKEN.table / 4] = 4 * sequence * tableBlocks;
      });
    });
    let first = 0;
    for (const [i, { slot, start, count }] of sequences.entries()) {
      const at = (scratch.sequences + i * SEQUENCE.bytes) / 4;
      memory.words[at + SEQUENCE.first / 4] = first;
      memory.words[at + SEQUENCE.count / 4] = count;
      memory.words[at + SEQUENCE.slot / 4] = slot;
      memory.words[at + SEQUENCE.fresh / 4] = start === 0 ? 1 : 0;
      first += count;
    }
    sequences.forEach(({ blockTables }, sequence) =>
      blockTables.forEach((table, group) => {
        const at = (group * scratch.sizes.sequences + sequence) * scratch.tableBlocks;
        // The table may be longer than that of the longest sequence.
        memory.words.set(table.slice(0, scratch.tableBlocks), scratch.tables / 4 + at);
      })
    );
  }
}

/** Caches the last value that was made, which the next step can reuse if its shape is the same. */
class LastMade<Value> {
  #value: Value | undefined;
  #shape = "";

  of(shape: object, make: () => Value): Value {
    const key = JSON.stringify(shape);
    if (this.#value === undefined || this.#shape !== key) {
      this.#shape = key;
      this.#value = make();
    }
    return this.#value;
  }

  forget(): void {
    this.#value = undefined;
  }
}

function pickOf(
  words: Int32Array,
  at: number,
  logits: Float32Array,
): { best: number; finite: boolean } {
  let best = Math.min(words[at]!, logits.length - 1);
  let finite = words[at + 1] === 0;
  // The kernel processes only a multiple of four values.
  for (let i = logits.length & ~3; i < logits.length; i++) {
    if (logits[i]! > logits[best]!) best = i;
    finite &&= Number.isFinite(logits[i]);
  }
  return { best, finite };
}

/**
 * Records the time of a kernel. With "together", all times are summed under the first kernel's
 * name.
 */
function noteTime({ kind, kernels }: StepTiming, name: string, milliseconds: number): void {
  if (kind === "each" || kernels.length === 0) kernels.push({ name, milliseconds });
  else kernels[0] = { ...kernels[0]!, milliseconds: kernels[0]!.milliseconds + milliseconds };
}
