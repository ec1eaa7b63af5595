/** The cases for which kernel variants are timed: a model's own shapes and weights. */

import { packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import type { TunedFamily } from "../../kernels/tuning_variants.ts";
import { RandomSource } from "../../engine/files/random_weights.ts";
import type { ModelFile, TensorInfo } from "../../engine/files/model_file.ts";
import type { AttentionSpec, ModelConfig } from "../../engine/model/config.ts";
import { weightReads } from "../../engine/model/costs.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import { allocateMatrix, type DeviceMatrix, UploadMemory } from "../../engine/gpu/matrix.ts";
import type { Dispatch } from "../../engine/gpu/pass.ts";
import { choiceKernels } from "../../engine/gpu/self_test/choices.ts";
import { type KernelHarness, plainBatch } from "../../engine/gpu/self_test/kernel_harness.ts";
import { floats } from "../../engine/gpu/self_test/products.ts";
import { attentionPartsFor, mostAttentionParts } from "../../engine/gpu/step_metadata.ts";
import type { Batch } from "../../engine/run/runner.ts";
import { SAMPLING, SIZES } from "./timing.ts";

/** Calls of a family's kernels, used in turn. */
export interface TuneCase {
  readonly batch: Batch;
  readonly calls: number;
  /**
   * Prepares the calls for the tuning of a harness. The result returns the dispatches of a call.
   */
  readonly prepare: (harness: KernelHarness) => (call: number) => readonly Dispatch[];
}

/** A model whose file is open, but whose weights are not loaded. */
export interface TuneModel {
  readonly file: ModelFile;
  readonly config: ModelConfig;
}

/** Positions that a decoded token attends to. */
const POSITIONS = 1024;
/** Tokens in a step of a prompt. */
const PROMPT_TOKENS = 64;
/** Maximum number of formats that are timed: those with most of the model's bytes. */
const MOST_TYPES = 3;
/** Of a large matrix, only this many bytes are used. */
const MOST_BYTES = 32 << 20;

/** The cases of a model on a device. */
export class TuneCases {
  readonly #random = new RandomSource(8);
  readonly #attention: AttentionSpec | undefined;
  #matrices: readonly (readonly DeviceMatrix[])[] | undefined;

  constructor(readonly harness: KernelHarness, readonly model: TuneModel) {
    [this.#attention] = attentionsOf(model.config.layers);
  }

  /** The formats of the matrices, most bytes first. */
  get types(): readonly TensorType[] {
    return this.#byType().map(([type]) => type);
  }

  /** Whether the model has experts. Their products are checked only then. */
  get hasExperts(): boolean {
    return this.model.config.layers.some(({ feedForward }) => feedForward?.kind === "experts");
  }

  /** The cases of a family; none if the model has no such kernels. */
  of(family: TunedFamily): readonly TuneCase[] {
    switch (family) {
      case "products":
        return this.#products([1, 8]);
      case "prompts":
        return this.#products([12, 24, PROMPT_TOKENS]);
      case "attention":
        return [decode(1), prompt(PROMPT_TOKENS)].flatMap((batch) => this.#attentions(batch));
      case "elements":
        return [decode(1), prompt(PROMPT_TOKENS)].flatMap((batch) => this.#ropes(batch));
      case "sampling":
        return [this.#sampling()];
      case "steps":
        return [];
    }
  }

  // One call per matrix, as a model reads each matrix once per step.
  #products(counts: readonly number[]): TuneCase[] {
    this.#matrices ??= this.#upload();
    return this.#matrices.flatMap((matrices) => {
      const { columns } = matrices[0]!;
      const rows = Math.max(...matrices.map(({ rows }) => rows));
      const x = this.harness.buffer(floats(PROMPT_TOKENS * columns, this.#random));
      const y = this.harness.buffer(PROMPT_TOKENS * rows * 4);
      return counts.map((tokens): TuneCase => ({
        batch: prompt(tokens),
        calls: matrices.length,
        prepare: (harness) => {
          const operations = matrices.map((matrix) =>
            harness.build().matmul(matrix, { x, y, stride: rows, over: "tokens" })
          );
          return (call) => operations[call]!.map((operation) => operation.at(tokens, 0));
        },
      }));
    });
  }

  #attentions(batch: Batch): TuneCase[] {
    const layer = this.#attention;
    if (layer === undefined) return [];
    const cache = this.#cache(layer);
    const angles = this.harness.buffer(floats(2 * POSITIONS * layer.headDim, this.#random));
    const tokens = batch.sequences[0]!.tokens!.length;
    return [{
      batch,
      calls: SIZES[this.harness.gpu.driver].calls,
      prepare: (harness) => {
        const operations = harness.build({ kv: "f16" }).attention(layer, { cache, angles });
        const most = mostAttentionParts(harness.tuning);
        const parts = tokens > 1 ? 0 : attentionPartsFor({ tokens, positions: POSITIONS }, most);
        return () => operations.map((operation) => operation.at(tokens, parts));
      },
    }];
  }

  #ropes(batch: Batch): TuneCase[] {
    const layer = this.#attention;
    if (layer === undefined) return [];
    const { headDim, headNorm } = layer;
    const cache = this.#cache(layer);
    const angles = this.harness.buffer(floats(2 * POSITIONS * headDim, this.#random));
    const norms = headNorm ? this.harness.buffer(floats(2 * headDim, this.#random)) : undefined;
    const tokens = batch.sequences[0]!.tokens!.length;
    return [{
      batch,
      calls: SIZES[this.harness.gpu.driver].calls,
      prepare: (harness) => {
        const operation = harness.build({ kv: "f16" }).ropeAppend(layer, { cache, angles, norms });
        return () => [operation.at(tokens, 0)];
      },
    }];
  }

  #sampling(): TuneCase {
    const { vocabSize } = this.model.config;
    const { uploader, scratch } = this.harness;
    uploader.write(scratch.logits, 0, floats(vocabSize, this.#random));
    return {
      batch: plainBatch(1, { sampling: SAMPLING }),
      calls: SIZES[this.harness.gpu.driver].calls,
      prepare: (harness) => {
        const kernels = choiceKernels(harness, vocabSize);
        const { sample_chunks, sample_keep, sample_pick } = kernels;
        return () => [sample_chunks, sample_keep, sample_pick].map((kernel) => kernel(1));
      },
    };
  }

  #cache({ kvHeads, headDim }: AttentionSpec) {
    const bytes = 2 * (POSITIONS + PROMPT_TOKENS) * kvHeads * headDim;
    const [keys, values] = [0, 1].map(() => this.harness.buffer(bytes));
    return { keys: keys!, values: values!, table: { group: 0, groups: 1 } };
  }

  #byType(): [TensorType, TensorInfo[]][] {
    const { config, file } = this.model;
    const reads = weightReads(config, file.tensors)
      .filter(({ isMatrix, share }) => isMatrix && share > 1 / config.vocabSize);
    const bytes = (tensors: readonly TensorInfo[]) =>
      tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
    return [...Map.groupBy(reads.map(({ tensor }) => tensor), ({ type }) => type)]
      .sort(([, a], [, b]) => bytes(b) - bytes(a)).slice(0, MOST_TYPES);
  }

  // For each format, matrices with the same row length. Together they are larger than most caches,
  // if there are enough of them.
  #upload(): DeviceMatrix[][] {
    const { gpu, uploader, tuning: { tile } } = this.harness;
    const memory = new UploadMemory();
    return this.#byType().map(([type, tensors]) => {
      const columns = tensors[0]!.shape.at(-1)!;
      const rowBytes = packedBytes(type, columns);
      const matrices: DeviceMatrix[] = [];
      let left = SIZES[gpu.driver].coldBytes;
      for (const tensor of tensors) {
        if (tensor.shape.at(-1) !== columns || left <= 0) continue;
        const rows = Math.ceil(Math.min(tensor.byteLength, MOST_BYTES) / rowBytes);
        const part = { ...tensor, shape: [rows, columns], byteLength: rows * rowBytes };
        const source = { file: this.model.file, tensors: [part] };
        const { matrix, fill } = allocateMatrix(gpu, source, { tile });
        for (const _ of fill(uploader, memory));
        this.harness.free(matrix);
        matrices.push(matrix);
        left -= part.byteLength;
      }
      return matrices;
    });
  }
}

/** A step of a prompt, or of one token at the last position. */
function prompt(tokens: number): Batch {
  return plainBatch(tokens, { start: tokens > 1 ? POSITIONS - PROMPT_TOKENS : POSITIONS - 1 });
}

function decode(tokens: number): Batch {
  return plainBatch(tokens, { start: POSITIONS - 1 });
}
