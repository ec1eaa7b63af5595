/**
 * The buffers between kernels. They are allocated once for the largest step, and all layers reuse
 * them.
 */

import { SAMPLE_COUNTERS } from "../../kernels/sampling_specs.ts";
import { REPEAT_HISTORY } from "../../kernels/sizes.ts";
import { createBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** Sizes that determine the scratch buffers. */
export interface ScratchSizes {
  /** Tokens in a step. */
  readonly tokens: number;
  readonly logitRows: number;
  readonly sequences: number;
  /** Decode steps chained in one submit. */
  readonly steps: number;
  readonly stepBytes: number;
  readonly dim: number;
  /**
   * (heads + 2·kvHeads)·headDim and heads·headDim, or channels and valueHeads·valueDim of recurrent
   * layers; each the maximum over all layers.
   */
  readonly qkvDim: number;
  readonly queryDim: number;
  readonly heads: number;
  /**
   * Parts of attention, for all tokens together: workgroups that share a token's positions. 0 if a
   * token never has more than one.
   */
  readonly attentionParts: number;
  /**
   * Floats per token for the gates of heads, and for the steps and strengths of recurrent heads; 0
   * if no layer has them.
   */
  readonly gatesDim: number;
  readonly stepsDim: number;
  /** Floats per token between gate and down, for all of a token's experts together. */
  readonly gatedDim: number;
  /** Whether some layers normalize a branch before adding it to the residual stream. */
  readonly branch: boolean;
  readonly vocabSize: number;
  readonly sampleChunks: number;
  readonly experts?: {
    readonly count: number;
    readonly used: number;
    /** Width of the shared expert; 0 if there is none. */
    readonly shared: number;
  } | undefined;
}

/** Activations of one step and the state of each slot. */
export interface Scratch {
  /** The residual stream, [tokens, dim]. */
  readonly hidden: GPUBuffer;
  /** [tokens, heads + 2·kvHeads, headDim], or in recurrent layers [tokens, channels]. */
  readonly qkv: GPUBuffer;
  /** Rotated queries and the result of attention, each [tokens, heads, headDim]. */
  readonly queries: GPUBuffer;
  readonly attended: GPUBuffer;
  /** Gates of the heads of attention or of a recurrent layer, [tokens, heads, headDim]. */
  readonly gates: GPUBuffer | undefined;
  /**
   * Steps and strengths of the delta rule, [tokens, 2, valueHeads]; Mamba's steps, [tokens,
   * valueHeads].
   */
  readonly steps: GPUBuffer | undefined;
  /** Partial results of workgroups that share a token's positions; see attention_keys.wgsl. */
  readonly attentionParts: GPUBuffer;
  /**
   * The output of a mixer or feed-forward network that is normalized before it is added, [tokens,
   * dim].
   */
  readonly branch: GPUBuffer | undefined;
  /** act(gate)·up, [tokens, width], or [tokens, slots, width] for experts. */
  readonly gated: GPUBuffer;
  readonly experts: ExpertScratch | undefined;
  readonly logits: GPUBuffer;
  readonly chunks: GPUBuffer;
  /** SAMPLE_COUNTERS words for each row to sample. */
  readonly counters: GPUBuffer;
  /** Ids that a row's filters may keep, [sequences, vocabSize]. */
  readonly kept: GPUBuffer;
  /** The token that each slot sampled last. */
  readonly last: GPUBuffer;
  /** The last tokens of each slot, [slots, REPEAT_HISTORY]. */
  readonly history: GPUBuffer;
  /** The ids sampled in this submit, [steps, sequences]. */
  readonly sampled: GPUBuffer;
  readonly metadata: GPUBuffer;
  /** Bound to bindings that a kernel declares but does not use in this dispatch. */
  readonly unused: GPUBuffer;
}

/** Buffers of routed experts, besides `gated`. */
export interface ExpertScratch {
  /** The router's logits, [tokens, experts]. */
  readonly logits: GPUBuffer;
  /** Experts and their weights, [tokens, slots, 2]. */
  readonly routes: GPUBuffer;
  /**
   * Slots sorted by expert: their number, then pairs of expert and slot, [1 + 2 · tokens · slots,
   * 2].
   */
  readonly entries: GPUBuffer;
  /** The result of each expert, [tokens, slots, dim]. */
  readonly parts: GPUBuffer;
  readonly shared: SharedScratch | undefined;
}

/** Buffers of a shared expert. */
export interface SharedScratch {
  /** Its router's logits, [tokens]. */
  readonly logits: GPUBuffer;
  /** act(gate)·up, [tokens, width]. */
  readonly gated: GPUBuffer;
  /** The result of the expert, [tokens, dim]. */
  readonly part: GPUBuffer;
}

/** Allocates the scratch buffers; their bytes count as "scratch". */
export function createScratch(gpu: Gpu, s: ScratchSizes): Scratch {
  const make = (label: string, words: number) =>
    createBuffer(gpu, { label, bytes: words * 4, purpose: "scratch" });
  const { experts } = s;
  return {
    hidden: make("hidden", s.tokens * s.dim),
    qkv: make("qkv", s.tokens * s.qkvDim),
    queries: make("queries", s.tokens * s.queryDim),
    attended: make("attended", s.tokens * s.queryDim),
    gates: s.gatesDim > 0 ? make("gates of heads", s.tokens * s.gatesDim) : undefined,
    steps: s.stepsDim > 0 ? make("steps of states", s.tokens * s.stepsDim) : undefined,
    attentionParts: make("attention parts", s.attentionParts * (s.queryDim + 4 * s.heads)),
    branch: s.branch ? make("branch", s.tokens * s.dim) : undefined,
    gated: make("gated", s.tokens * s.gatedDim),
    experts: experts && {
      logits: make("router logits", s.tokens * experts.count),
      routes: make("routes", s.tokens * experts.used * 2),
      entries: make("routes by expert", 2 + s.tokens * experts.used * 4),
      parts: make("experts' parts", s.tokens * experts.used * s.dim),
      shared: experts.shared === 0 ? undefined : {
        logits: make("shared router logits", s.tokens),
        gated: make("shared gated", s.tokens * experts.shared),
        part: make("shared expert's part", s.tokens * s.dim),
      },
    },
    logits: make("logits", s.logitRows * s.vocabSize),
    chunks: make("sample chunks", s.sequences * s.sampleChunks * 4),
    counters: make("sample counters", s.sequences * SAMPLE_COUNTERS),
    kept: make("ids that sampling keeps", s.sequences * s.vocabSize),
    last: make("last tokens", s.sequences),
    history: make("token history", s.sequences * REPEAT_HISTORY),
    sampled: make("sampled tokens", s.steps * s.sequences),
    // For two submits: while one runs piece by piece, the next one's metadata is written.
    metadata: make("step metadata", 2 * s.steps * s.stepBytes / 4),
    unused: make("unused", 4),
  };
}
