/** Writes a step's metadata as the kernels read it (kernels/step.wgsl, kernels/sampler.wgsl). */

import { KEY_TILE } from "../../kernels/attention_specs.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import {
  type Batch,
  type BatchSequence,
  BLOCK_TOKENS,
  MOST_BIASES,
  REPEAT_WINDOW,
} from "../run/runner.ts";

/** Token id that means "the token that this slot sampled last". */
const FEEDBACK = 0xffffffff;
const HEADER_WORDS = 8;
const TOKEN_WORDS = 4;
const SAMPLER_WORDS = 16;
const SEQUENCE_WORDS = 4;

/** Maximum sizes of a step. */
export interface StepLimits {
  readonly tokens: number;
  readonly sequences: number;
  readonly logitRows: number;
  /** Blocks of a sequence in all its tables together. */
  readonly tableBlocks: number;
}

/** The sizes of a step, which determine the grids of its dispatches. */
export interface StepCounts {
  readonly tokens: number;
  readonly sequences: number;
  readonly logits: number;
  readonly samples: number;
  /**
   * If each sequence has one token: workgroups that share the positions of a token and KV head;
   * else 0. Used only with attention_keys.wgsl, on GPUs.
   */
  readonly attentionParts: number;
  /** Whether some sampler changes logits before a token is chosen. */
  readonly adjust: boolean;
  /** Whether some sampler draws, at a temperature above 0. */
  readonly draws: boolean;
  /** Words of metadata written. */
  readonly words: number;
}

/** Returns the maximum number of attention parts, for all tokens of a step together. */
export function mostAttentionParts({ attention }: Pick<Tuning, "attention">): number {
  return attention.by === "tiles" ? attention.parts : 0;
}

/**
 * Returns how many workgroups share the positions of a token: at least one, at most one per tile of
 * positions, and for all tokens together at most `parts`, for which the scratch buffers have room.
 */
export function attentionPartsFor(
  { tokens, positions }: { readonly tokens: number; readonly positions: number },
  parts: number,
): number {
  const most = Math.floor(parts / tokens);
  return Math.max(1, Math.min(most, Math.ceil(positions / KEY_TILE)));
}

/** Returns the maximum number of 32-bit words of a step's metadata within `limits`. */
export function stepWords(limits: StepLimits): number {
  return HEADER_WORDS + limits.tokens * TOKEN_WORDS + limits.logitRows +
    limits.sequences * (SEQUENCE_WORDS + SAMPLER_WORDS + limits.tableBlocks + MOST_BIASES * 2);
}

/**
 * Writes the metadata of step `step` of a batch: the tokens that enter and their sequences, the
 * rows of logits, the sampling options of each row, and the block tables. The entries of a
 * sequence's tables, one table for each group of layers, alternate.
 *
 * @param words receives the metadata, from its start on
 * @param options.sampledOffset offset of this step's ids in the buffer of sampled ids
 * @param options.mostParts the result of mostAttentionParts
 */
export function writeStep(
  words: Uint32Array,
  batch: Batch,
  { step, sampledOffset, mostParts }: {
    readonly step: number;
    readonly sampledOffset: number;
    readonly mostParts: number;
  },
): StepCounts {
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const { sequences } = batch;
  const tokens = sequences.reduce((sum, s) => sum + (s.tokens?.length ?? 1), 0);
  const sequencesOffset = HEADER_WORDS + tokens * TOKEN_WORDS;
  const rowsOffset = sequencesOffset + sequences.length * SEQUENCE_WORDS;
  const rows = logitRows(sequences);
  const samplersOffset = rowsOffset + rows.length;
  const sampled = sequences.filter((s) => s.sampling !== undefined);
  let at = samplersOffset + sampled.length * SAMPLER_WORDS;

  let token = HEADER_WORDS;
  let sequence = sequencesOffset;
  for (const { slot, start, tokens, blockTables } of sequences) {
    const last = start + step + (tokens?.length ?? 1) - 1;
    const used = Math.floor(last / BLOCK_TOKENS) + 1;
    const groups = blockTables.length;
    words[sequence++] = (token - HEADER_WORDS) / TOKEN_WORDS;
    words[sequence++] = tokens?.length ?? 1;
    words[sequence++] = slot;
    words[sequence++] = start + step;
    for (const [group, table] of blockTables.entries()) {
      for (let i = 0; i < used; i++) words[at + i * groups + group] = table[i]!;
    }
    for (let i = 0; i < (tokens?.length ?? 1); i++) {
      words[token++] = step > 0 ? FEEDBACK : tokens?.[i] ?? FEEDBACK;
      words[token++] = start + step + i;
      words[token++] = slot;
      words[token++] = at;
    }
    at += used * groups;
  }
  words.set(rows.map((row) => row.token), rowsOffset);

  let adjust = false;
  let draws = false;
  for (const [i, { slot, start, tokens, sampling }] of sampled.entries()) {
    if (sampling === undefined) continue;
    const position = start + step + (tokens?.length ?? 1);
    const bias = [...sampling.logitBias ?? []];
    const o = samplersOffset + i * SAMPLER_WORDS;
    words[o] = slot;
    words[o + 1] = rows.findIndex((row) => row.samples && row.slot === slot);
    words[o + 2] = position;
    words[o + 3] = sampling.seed;
    floats[o + 4] = sampling.temperature;
    words[o + 5] = sampling.topK;
    floats[o + 6] = sampling.topP;
    floats[o + 7] = sampling.minP;
    floats[o + 8] = sampling.repeatPenalty;
    words[o + 9] = Math.min(position, sampling.repeatWindow ?? REPEAT_WINDOW);
    words[o + 10] = bias.length;
    words[o + 11] = at;
    for (const [id, value] of bias) {
      words[at++] = id;
      floats[at++] = value;
    }
    draws ||= sampling.temperature > 0;
    adjust ||= bias.length > 0 || sampling.repeatPenalty !== 1;
  }
  words[0] = tokens;
  words[1] = rows.length;
  words[2] = sampled.length;
  words[3] = rowsOffset;
  words[4] = samplersOffset;
  words[5] = sampledOffset;
  const longest = sequences.reduce(
    (most, { start, tokens }) => Math.max(most, start + step + (tokens?.length ?? 1)),
    0,
  );
  const attentionParts = tokens > sequences.length
    ? 0
    : attentionPartsFor({ tokens, positions: longest }, mostParts);
  words[6] = Math.max(1, attentionParts);
  words[7] = sequencesOffset;
  return {
    tokens,
    sequences: sequences.length,
    logits: rows.length,
    samples: sampled.length,
    attentionParts,
    adjust,
    draws,
    words: at,
  };
}

/**
 * A row of logits: the token of the step that it follows, and whether the next token is sampled
 * from it.
 */
export interface LogitRow {
  readonly token: number;
  readonly slot: number;
  readonly samples: boolean;
}

/** Returns the rows of logits that a step computes, sequence by sequence. */
export function logitRows(sequences: readonly BatchSequence[]): LogitRow[] {
  const rows: LogitRow[] = [];
  let token = 0;
  for (const { slot, tokens, logits, sampling } of sequences) {
    const count = tokens?.length ?? 1;
    const first = logits === "all" ? 0 : count - 1;
    if (logits !== undefined || sampling !== undefined) {
      for (let i = first; i < count; i++) {
        rows.push({
          token: token + i,
          slot,
          samples: i === count - 1 && sampling !== undefined,
        });
      }
    }
    token += count;
  }
  return rows;
}
