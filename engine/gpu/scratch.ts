/** The buffers between kernels, made once for the largest step and used by one layer after the other. */

import { SAMPLE_COUNTERS } from "../../kernels/sampling_specs.ts";
import { REPEAT_HISTORY } from "../../kernels/sizes.ts";
import { createBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** Sizes that scratch buffers are made for. */
export interface ScratchSizes {
  /** Tokens in a step. */
  readonly tokens: number;
  readonly logitRows: number;
  readonly sequences: number;
  /** Decode steps chained in one submit. */
  readonly steps: number;
  readonly stepBytes: number;
  readonly dim: number;
  /** (heads + 2·kvHeads)·headDim and heads·headDim, of the widest layer. */
  readonly qkvDim: number;
  readonly queryDim: number;
  readonly heads: number;
  /** Workgroups that share a token's positions, of all tokens together; 0: never more than one. */
  readonly attentionParts: number;
  /** Gates of heads, and two numbers of each head with a state; 0: no layer has them. */
  readonly gatesDim: number;
  readonly stepsDim: number;
  /** What feed-forward networks have between gate and down, of all of a token's experts together. */
  readonly gatedDim: number;
  /** Some layers normalize a branch before it joins the residual stream. */
  readonly branch: boolean;
  readonly vocabSize: number;
  readonly sampleChunks: number;
  readonly experts?: {
    readonly count: number;
    readonly used: number;
    /** Rows of the gate of a shared expert; 0: none. */
    readonly shared: number;
  } | undefined;
}

/** Activations of one step and the state of each slot. */
export interface Scratch {
  /** The residual stream, [tokens, dim]. */
  readonly hidden: GPUBuffer;
  /** [tokens, heads + 2·kvHeads, headDim], or the channels of a gated delta net. */
  readonly qkv: GPUBuffer;
  /** Rotated queries, and what attention makes of them, [tokens, heads, headDim]. */
  readonly queries: GPUBuffer;
  readonly attended: GPUBuffer;
  /** Of attention's heads, or those of a gated delta net. */
  readonly gates: GPUBuffer | undefined;
  /** Steps and strengths of the delta rule, [tokens, 2, valueHeads]. */
  readonly steps: GPUBuffer | undefined;
  /** What workgroups that share a token's positions found: attention_keys.wgsl. */
  readonly attentionParts: GPUBuffer;
  /** What a layer adds, where it is normalized first, [tokens, dim]. */
  readonly branch: GPUBuffer | undefined;
  /** act(gate)·up, [tokens, ffnDim], or of each of a token's experts. */
  readonly gated: GPUBuffer;
  readonly experts: ExpertScratch | undefined;
  readonly logits: GPUBuffer;
  readonly chunks: GPUBuffer;
  /** Of each row to sample, SAMPLE_COUNTERS words. */
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
  /** Bound where a kernel declares a binding that this use of it does not read. */
  readonly unused: GPUBuffer;
}

/** What routed experts need beside `gated`. */
export interface ExpertScratch {
  /** The router's, [tokens, experts]. */
  readonly logits: GPUBuffer;
  /** Experts and their weights, [tokens, slots, 2]. */
  readonly routes: GPUBuffer;
  /** Slots sorted by expert: how many, then expert and slot, [1 + 2 · tokens · slots, 2]. */
  readonly entries: GPUBuffer;
  /** What each expert adds, [tokens, slots, dim]. */
  readonly parts: GPUBuffer;
  readonly shared: SharedScratch | undefined;
}

/** What a shared expert needs. */
export interface SharedScratch {
  /** Its router's, [tokens]. */
  readonly logits: GPUBuffer;
  /** act(gate)·up, [tokens, width]. */
  readonly gated: GPUBuffer;
  /** What it adds, [tokens, dim]. */
  readonly part: GPUBuffer;
}

/** Makes the scratch buffers; their bytes count as "scratch". */
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
    // Of two submits: one may be running piece by piece while the next one's is written.
    metadata: make("step metadata", 2 * s.steps * s.stepBytes / 4),
    unused: make("unused", 4),
  };
}
