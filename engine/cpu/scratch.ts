/** The scratch memory of a step: activations, metadata, and lists of operations. */

import { RECORD_BYTES } from "../../kernels/wasm/activations.ts";
import { attentionScratch, partBytes, SPLIT_KEYS } from "../../kernels/wasm/attention_fields.ts";
import { paddedRows, SPAN_COLUMNS } from "../../kernels/wasm/formats.ts";
import { OFFSET_BYTES } from "../../kernels/wasm/matmul.ts";
import { OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { ENCODINGS } from "../../kernels/wasm/prepare.ts";
import { cachedDim, TOKEN } from "../../kernels/wasm/rope.ts";
import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import { SEQUENCE } from "../../kernels/wasm/delta_net.ts";
import type {
  AttentionSpec,
  ExpertsSpec,
  LayerSpec,
  MixerSpec,
  ModelConfig,
} from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { attentionsOf, channelsOf, isRecurrent } from "../model/mixers.ts";
import type { RopeSpec, TemperatureSpec } from "../model/rope.ts";
import type { Layout, SharedMemory } from "./memory.ts";

/**
 * Rows of logits computed together: enough to share reading the weights, few enough for any
 * vocabulary.
 */
export const LOGIT_ROWS = 16;

/**
 * Up to this many tokens, every thread prepares all activations itself, rather than wait for
 * another thread.
 */
export const REDUNDANT_TOKENS = 2;

/** Maximum number of operations of a layer without its experts, and of logits. */
const OPERATIONS_OF_LAYER = 20;
const OPERATIONS_OF_LOGITS = 4;

export interface ScratchSizes {
  readonly tokens: number;
  readonly sequences: number;
  readonly contextLength: number;
  readonly threads: number;
}

/** Addresses of rows of activations: as float32, and as integers in each encoding. */
export interface PreparedRows {
  readonly row: number;
  readonly encoded: readonly number[];
  /** Bytes between the rows of two threads, or 0 if all threads share them. */
  readonly thread: number;
}

/** Returns the number of columns, padded to whole spans. */
export function padded(columns: number): number {
  return Math.ceil(columns / SPAN_COLUMNS) * SPAN_COLUMNS;
}

/** Returns the number of rows of a token's experts, including the shared one's, which is last. */
export function slotsOf({ used, shared }: ExpertsSpec): number {
  return used + (shared ? 1 : 0);
}

/**
 * Returns the byte offsets of a mixer's projections in a token's row of `heads`, and the bytes of
 * the row.
 */
export function mixerRow(
  mixer: MixerSpec,
): { readonly at: readonly number[]; readonly bytes: number } {
  const values = isRecurrent(mixer) ? mixer.valueHeads * mixer.valueDim : 0;
  const widths = isRecurrent(mixer)
    // Inputs, gates, steps, strengths (of delta nets), and the heads' outputs.
    ? [channelsOf(mixer), values, mixer.valueHeads, mixer.valueHeads, values]
    // Queries, keys, values, gates.
    : [mixer.heads, mixer.kvHeads, mixer.kvHeads, mixer.gated ? mixer.heads : 0]
      .map((heads) => heads * mixer.headDim);
  const at: number[] = [];
  let bytes = 0;
  for (const width of widths) {
    at.push(bytes);
    bytes += 4 * paddedRows(width);
  }
  return { at, bytes };
}

/** Addresses of the cosines and sines of a table of angles. */
export interface AngleTable {
  readonly cos: number; // [tokens, pairs]
  readonly sin: number; // [tokens, pairs]
}

/** Addresses and sizes of the scratch buffers. Strides are in bytes. */
export class Scratch {
  readonly hidden: number; // [tokens, dim]
  readonly hiddenStride: number;
  /**
   * [tokens, queries + keys + values + gates], or the projections of a recurrent mixer; see
   * mixerRow.
   */
  readonly heads: number;
  readonly headsStride: number;
  readonly parts: number;
  readonly attention: number;
  readonly attentionThread: number;
  readonly gate: number; // [tokens · used, width]
  readonly up: number;
  readonly gateStride: number;
  readonly added: number; // [tokens, dim]: a branch's output, before its norm
  readonly expertRows: number; // [tokens · used, dim]
  readonly sharedGate: number; // [tokens, width of the shared expert]
  readonly sharedUp: number;
  readonly sharedStride: number;
  readonly router: number; // [tokens, experts]
  readonly routerStride: number;
  readonly expertWeights: number; // [tokens · used]
  readonly logits: number; // [LOGIT_ROWS, vocabSize]
  readonly logitsStride: number;
  readonly picks: number; // [LOGIT_ROWS, 2]
  readonly identity: number; // [tokens · used]: 0, 1, 2 …
  readonly xRows: number; // [tokens · used]
  readonly yRows: number; // [tokens · used]
  readonly logitRows: number; // [LOGIT_ROWS]
  readonly tokens: number; // [groups, tokens] TOKEN
  readonly tables: number; // [groups, sequences, tableBlocks]
  readonly tableBlocks: number;
  readonly sequences: number; // [sequences] SEQUENCE
  readonly operations: number;
  readonly logitsOperations: number;
  /** Operations of a layer's experts, which are written when its router has run. */
  readonly routed: number;
  readonly shared: PreparedRows;
  readonly own: PreparedRows;
  /** Maximum number of rows: tokens · experts of a token. */
  readonly rows: number;
  readonly rowStride: number;
  readonly encodedStride: number;
  /** Offsets of a strip of weights, for each thread; see kernels/wasm/products.ts. */
  readonly offsets: number; // [threads, columns / 32]
  readonly offsetsThread: number;
  readonly angles: ReadonlyMap<RopeSpec, AngleTable>;
  /** Factors that multiply the queries, [tokens] each. */
  readonly temperatures: ReadonlyMap<TemperatureSpec, number>;
  /** Maximum number of splits of a token's positions. */
  readonly splits: number;
  /** Bytes of all buffers. */
  readonly bytes: number;

  constructor(layout: Layout, config: ModelConfig, readonly sizes: ScratchSizes) {
    const { layers, dim, vocabSize } = config;
    const { tokens, sequences, contextLength, threads } = sizes;
    const widest = (of: (layer: LayerSpec) => number) => Math.max(...layers.map(of));
    const experts = layers.flatMap(({ feedForward: f }) => f?.kind === "experts" ? [f] : []);
    const most = (of: (spec: ExpertsSpec) => number) => Math.max(1, ...experts.map(of));
    const used = most(slotsOf);
    const attentions = attentionsOf(layers);
    const widestHeads = (of: (spec: AttentionSpec) => number) => Math.max(...attentions.map(of));
    const shared = Math.max(0, ...experts.map((spec) => spec.shared?.width ?? 0));
    const rows = this.rows = tokens * used;
    const width = widest(({ feedForward: f }) => f?.width ?? 0);
    const mixed = widest(({ mixer: m }) =>
      m === undefined ? 0 : isRecurrent(m) ? m.valueHeads * m.valueDim : m.heads * m.headDim
    );
    const columns = padded(Math.max(dim, width, mixed, shared));
    const words = (count: number) => layout.allocate(4 * count);
    const before = layout.bytes;

    this.hiddenStride = 4 * padded(dim);
    this.hidden = layout.allocate(tokens * this.hiddenStride);
    this.headsStride = widest(({ mixer }) => mixer ? mixerRow(mixer).bytes : 0);
    // One row more, because a head's last vector may reach into the next row.
    this.heads = layout.allocate((tokens + 1) * this.headsStride);
    this.splits = Math.ceil(contextLength / SPLIT_KEYS) + 1;
    // With many tokens, each unit of attention computes all splits of a head.
    const records = Math.max(tokens, sequences * this.splits);
    this.parts = layout.allocate(
      widestHeads(({ heads, headDim }) => records * heads * partBytes(cachedDim(headDim))),
    );
    this.attentionThread = Math.ceil(
      widestHeads(({ heads, kvHeads, headDim }) =>
        attentionScratch(heads / kvHeads, cachedDim(headDim))
      ) / 64,
    ) * 64;
    this.attention = layout.allocate(threads * this.attentionThread);
    this.gateStride = 4 * padded(width);
    this.gate = layout.allocate(rows * this.gateStride);
    this.up = layout.allocate(rows * this.gateStride);
    this.added = layout.allocate(tokens * this.hiddenStride);
    this.expertRows = layout.allocate(experts.length > 0 ? rows * this.hiddenStride : 0);
    this.sharedStride = 4 * padded(shared);
    this.sharedGate = layout.allocate(tokens * this.sharedStride);
    this.sharedUp = layout.allocate(tokens * this.sharedStride);
    this.routerStride = 4 * paddedRows(most((spec) => spec.count));
    this.router = layout.allocate(tokens * this.routerStride);
    this.expertWeights = words(rows);
    this.logitsStride = 4 * paddedRows(vocabSize);
    this.logits = layout.allocate(LOGIT_ROWS * this.logitsStride);
    this.picks = words(2 * LOGIT_ROWS);
    this.identity = words(rows);
    this.xRows = words(rows);
    this.yRows = words(rows);
    this.logitRows = words(LOGIT_ROWS);
    const groups = kvGroups(config).length;
    this.tokens = layout.allocate(groups * tokens * TOKEN.bytes);
    this.tableBlocks = Math.ceil(contextLength / BLOCK_TOKENS);
    this.tables = words(groups * sequences * this.tableBlocks);
    this.sequences = layout.allocate(sequences * SEQUENCE.bytes);
    this.operations = layout.allocate(
      OPERATIONS_OF_LAYER * layers.length * OPERATION_BYTES,
    );
    this.logitsOperations = layout.allocate(OPERATIONS_OF_LOGITS * OPERATION_BYTES);
    this.routed = layout.allocate((3 * most((spec) => spec.count) + 4) * OPERATION_BYTES);
    this.rowStride = 4 * columns;
    this.encodedStride = columns / SPAN_COLUMNS * RECORD_BYTES;
    this.offsetsThread = columns / SPAN_COLUMNS * OFFSET_BYTES;
    this.offsets = layout.allocate(threads * this.offsetsThread);
    const rowsOf = (count: number) => ({
      row: layout.allocate(count * this.rowStride),
      encoded: Array.from({ length: ENCODINGS }, () => layout.allocate(count * this.encodedStride)),
    });
    this.shared = { ...rowsOf(rows), thread: 0 };
    const own = Array.from({ length: threads }, () => rowsOf(REDUNDANT_TOKENS * used));
    this.own = { ...own[0]!, thread: threads > 1 ? own[1]!.row - own[0]!.row : 0 };
    this.angles = new Map(
      [...new Set(attentions.map(({ rope }) => rope))].map((rope) => {
        const table = () => words(tokens * rope.dims / 2);
        return [rope, { cos: table(), sin: table() }];
      }),
    );
    const temperatures = attentions.flatMap(({ temperature }) => temperature ?? []);
    this.temperatures = new Map([...new Set(temperatures)].map((own) => [own, words(tokens)]));
    this.bytes = layout.bytes - before;
  }

  /** Fills all buffers with zeros, which they contain initially. */
  clear({ bytes }: SharedMemory): void {
    bytes.fill(0, this.hidden, this.hidden + this.bytes);
  }

  /** Writes the contents that never change. */
  prepare({ words }: SharedMemory): void {
    for (let row = 0; row < this.rows; row++) words[this.identity / 4 + row] = row;
  }
}
