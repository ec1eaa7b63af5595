/** What a step works in: activations, a step's metadata, and the list of operations. */

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

/** Rows of logits computed together: enough to share the weights, few enough for any vocabulary. */
export const LOGIT_ROWS = 16;

/** Up to so many tokens every thread prepares its own activations, rather than wait for another. */
export const REDUNDANT_TOKENS = 2;

/** Operations at most: a layer's without its experts, and those of logits. */
const OPERATIONS_OF_LAYER = 20;
const OPERATIONS_OF_LOGITS = 4;

export interface ScratchSizes {
  readonly tokens: number;
  readonly sequences: number;
  readonly contextLength: number;
  readonly threads: number;
}

/** A row of activations: float32, and as integers for one kind of matrix and another. */
export interface PreparedRows {
  readonly row: number;
  readonly encoded: readonly number[];
  /** Bytes from one thread's to the next one's, or 0 where all threads share them. */
  readonly thread: number;
}

/** Columns filled up to whole spans. */
export function padded(columns: number): number {
  return Math.ceil(columns / SPAN_COLUMNS) * SPAN_COLUMNS;
}

/** Rows of a token's experts, the shared one's last. */
export function slotsOf({ used, shared }: ExpertsSpec): number {
  return used + (shared ? 1 : 0);
}

/** Where in a token's row of `heads` the projections of a mixer are, in bytes. */
export function mixerRow(
  mixer: MixerSpec,
): { readonly at: readonly number[]; readonly bytes: number } {
  const values = isRecurrent(mixer) ? mixer.valueHeads * mixer.valueDim : 0;
  const widths = isRecurrent(mixer)
    // Inputs, gates, steps, strengths (of delta nets), and what the heads give.
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

/** A table of angles: its cosines and sines. */
export interface AngleTable {
  readonly cos: number; // [tokens, pairs]
  readonly sin: number; // [tokens, pairs]
}

/** Addresses; strides in bytes. */
export class Scratch {
  readonly hidden: number; // [tokens, dim]
  readonly hiddenStride: number;
  /** [tokens, queries + keys + values + gates], or what a mixer with a state has: see mixerRow. */
  readonly heads: number;
  readonly headsStride: number;
  readonly parts: number;
  readonly attention: number;
  readonly attentionThread: number;
  readonly gate: number; // [tokens · used, width]
  readonly up: number;
  readonly gateStride: number;
  readonly added: number; // [tokens, dim]: what a layer's half gave, before its norm
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
  /** Those of a layer's experts, which are known when its router has run. */
  readonly routed: number;
  readonly shared: PreparedRows;
  readonly own: PreparedRows;
  /** Rows that tokens have with all their experts. */
  readonly rows: number;
  readonly rowStride: number;
  readonly encodedStride: number;
  /** Of a strip of weights, by thread; see kernels/wasm/products.ts. */
  readonly offsets: number; // [threads, columns / 32]
  readonly offsetsThread: number;
  readonly angles: ReadonlyMap<RopeSpec, AngleTable>;
  /** What queries are multiplied by, [tokens] each. */
  readonly temperatures: ReadonlyMap<TemperatureSpec, number>;
  /** Splits that a token's positions can have. */
  readonly splits: number;
  /** Of all. */
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
    // A head's last vector may reach into the next one's row.
    this.heads = layout.allocate((tokens + 1) * this.headsStride);
    this.splits = Math.ceil(contextLength / SPLIT_KEYS) + 1;
    // Where many tokens enter, each unit of attention is all splits of a head.
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

  /** Makes all of it zeros, as memory is at first. */
  clear({ bytes }: SharedMemory): void {
    bytes.fill(0, this.hidden, this.hidden + this.bytes);
  }

  /** Writes what never changes. */
  prepare({ words }: SharedMemory): void {
    for (let row = 0; row < this.rows; row++) words[this.identity / 4 + row] = row;
  }
}
