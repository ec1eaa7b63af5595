/** Checks and times every kernel in one shape, on a device of its own. */

import { packF16 } from "../../kernels/f16.ts";
import { KV_BYTES, type KvType } from "../../kernels/sizes.ts";
import { GROUP_LAYOUT, packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { RandomSource } from "../../engine/files/random_weights.ts";
import { createBuffer } from "../../engine/gpu/buffers.ts";
import { type Gpu, openGpu } from "../../engine/gpu/device.ts";
import type { Dispatch } from "../../engine/gpu/pass.ts";
import type { DeviceMatrix } from "../../engine/gpu/matrix.ts";
import { choiceKernels } from "../../engine/gpu/self_test/choices.ts";
import { floats, randomTensor, upload } from "../../engine/gpu/self_test/products.ts";
import { attentionPartsFor, mostAttentionParts } from "../../engine/gpu/step_metadata.ts";
import { KernelHarness } from "../../engine/gpu/self_test/kernel_harness.ts";
import { selfTest } from "../../engine/gpu/self_test/self_test.ts";
import type { Pause } from "../../engine/run/event_loop.ts";
import { tunedFor } from "../../engine/tuned.ts";
import { expertCases } from "./expert_cases.ts";
import { attentionCost, embedCost, productCost, ropeAppendCost, samplingCost } from "./costs.ts";
import {
  type Calls,
  kernelCase,
  MOST_COPIES,
  MOST_TOKENS,
  POSITIONS,
  repeated,
  SAMPLING,
  SIZES,
  type TimedKernel,
} from "./timing.ts";
import { isNamed, KV_TYPES, TYPES } from "./names.ts";
import type { Environment } from "../report/report.ts";
import type { KernelBench, KernelChoice } from "./kernel_bench.ts";

/**
 * Opens a device for the kernels of a model of these dimensions.
 *
 * @param pause called before each case and sample; an error that it throws ends the work
 */
export async function openKernels(
  model: Environment["model"],
  choice: KernelChoice,
  pause: Pause,
): Promise<KernelBench> {
  const gpu = await openGpu();
  const { driver } = gpu;
  const { only } = choice;
  const { rows, columns } = parseShape(choice.shape) ?? SIZES[driver];
  const { heads, kvHeads, headDim, vocabSize } = model;
  const { tuning } = tunedFor(gpu);
  const sizes = {
    dim: columns,
    qkvDim: (heads + 2 * kvHeads) * headDim,
    queryDim: heads * headDim,
    vocabSize,
    sampleChunks: Math.ceil(vocabSize / tuning.sampleChunk),
  };
  const harness = await KernelHarness.create(gpu, tuning, { sizes, pause });
  const cases = new Cases(harness, model, { rows, columns }).all()
    .filter(({ kernel }) => isNamed(kernel, only))
    .map((kernel) => kernelCase(harness, kernel));
  return {
    verify: () =>
      selfTest(gpu, {
        tuning,
        pause,
        // The three sampling kernels are checked as one.
        select: (name) => cases.some(({ kernel }) => `${kernel} `.startsWith(`${name} `)),
        tokens: Array.from({ length: MOST_TOKENS }, (_, i) => i + 1),
      }),
    cases,
    close: () => gpu.device.destroy(),
  };
}

/** `1536x768` as rows and columns. */
function parseShape(shape: string | undefined) {
  if (shape === undefined) return undefined;
  const [rows, columns] = shape.split("x").map(Number);
  return { rows: rows!, columns: columns! };
}

/** Whether some layer normalizes its query and key heads. */
function hasHeadNorm({ layerKinds }: Environment["model"]): boolean {
  return layerKinds.some(({ headNorm }) => headNorm);
}

class Cases {
  readonly #random = new RandomSource(7);

  constructor(
    readonly harness: KernelHarness,
    readonly model: Environment["model"],
    readonly matrix: { readonly rows: number; readonly columns: number },
  ) {}

  all(): TimedKernel[] {
    const { matrix: { columns }, model } = this;
    const types = TYPES.filter((type) => columns % GROUP_LAYOUT[type].weights === 0);
    const { headDim, heads, kvHeads, vocabSize } = model;
    const headNorm = hasHeadNorm(model);
    const ofHeads = `${heads}+${kvHeads} heads of ${headDim}`;
    const cached = (kv: KvType) => ({ heads, kvHeads, headDim, kvBytes: KV_BYTES[kv] });
    return [
      ...types.map((type) => this.#product(type)),
      ...types.map((type): TimedKernel => ({
        kernel: `embed ${type}`,
        shape: `${columns}`,
        cost: (tokens) => embedCost(type, columns, tokens),
        prepare: () => this.#embed(type),
      })),
      ...KV_TYPES.flatMap((kv): TimedKernel[] => [
        {
          kernel: `rope_append ${kv}`,
          shape: ofHeads,
          cost: (tokens) => ropeAppendCost({ ...cached(kv), headNorm }, tokens),
          prepare: () => repeated(this.harness, this.#ropeAppend(kv)),
        },
        {
          kernel: `attention ${kv}`,
          shape: `${ofHeads}, ${POSITIONS} positions`,
          cost: (tokens) => attentionCost(cached(kv), POSITIONS, tokens),
          prepare: () => repeated(this.harness, this.#attention(kv)),
        },
      ]),
      ...expertCases(this.harness, this.matrix),
      {
        kernel: "logit_adjust",
        shape: `${vocabSize} logits`,
        cost: () => undefined,
        prepare: () => repeated(this.harness, this.#choice(["logit_adjust"])),
      },
      {
        kernel: "sampling",
        shape: `${vocabSize} logits, top-k ${SAMPLING.topK}`,
        cost: (tokens) => samplingCost(vocabSize, tokens),
        prepare: () =>
          repeated(this.harness, this.#choice(["sample_chunks", "sample_keep", "sample_pick"])),
      },
    ];
  }

  #product(type: TensorType): TimedKernel {
    const { rows, columns } = this.matrix;
    const bytes = packedBytes(type, rows * columns);
    return {
      kernel: `matmul ${type}`,
      shape: `${rows} × ${columns}`,
      cost: (tokens) => productCost({ rows, columns, bytes }, tokens),
      prepare: () => this.#products(type, bytes),
    };
  }

  // Copies of a matrix, used in turn, as a model reads each matrix once per step. Together they are
  // larger than most caches.
  #products(type: TensorType, bytes: number): Calls {
    const { harness, matrix: { rows, columns } } = this;
    const { coldBytes } = SIZES[harness.gpu.driver];
    const count = Math.min(MOST_COPIES, Math.max(1, Math.ceil(coldBytes / bytes)));
    const matrix = upload(harness, [randomTensor("matrix", { type, rows, columns }, this.#random)]);
    const x = harness.buffer(floats(MOST_TOKENS * columns, this.#random));
    const y = harness.buffer(MOST_TOKENS * rows * 4);
    const build = harness.build();
    const operations = Array.from({ length: count }, (_, i) => {
      const copy = i === 0 ? matrix : duplicate(harness.gpu, matrix);
      harness.free(copy);
      return build.matmul(copy, { x, y, stride: rows, over: "tokens" });
    });
    return {
      at: (call, tokens) => operations[call]!.map((operation) => operation.at(tokens, 0)),
      count,
    };
  }

  #embed(type: TensorType): Calls {
    const { harness, matrix: { columns } } = this;
    const matrix = upload(harness, [
      randomTensor("embedding", { type, rows: 64, columns }, this.#random),
    ]);
    harness.free(matrix);
    const parts = harness.build({ dim: columns }).embed(matrix, 1);
    return repeated(this.harness, (tokens) => parts[0]!.at(tokens, 0));
  }

  #ropeAppend(kv: KvType): (tokens: number) => Dispatch {
    const operation = this.harness.build({ kv }).ropeAppend(this.#layer(), this.#place(kv));
    return (tokens) => operation.at(tokens, 0);
  }

  #layer() {
    const rope = {
      base: 1e4,
      dims: this.model.headDim,
      layout: "half",
      scaling: { kind: "none" },
      factors: false,
    } as const;
    return { ...this.model, rope, scale: 1 / Math.sqrt(this.model.headDim) };
  }

  #place(kv: KvType) {
    const { harness, model } = this;
    return {
      cache: this.#cache(kv),
      angles: harness.buffer(floats(POSITIONS * model.headDim, this.#random)),
      norms: hasHeadNorm(model)
        ? harness.buffer(floats(2 * model.headDim, this.#random))
        : undefined,
    };
  }

  #attention(kv: KvType): (tokens: number) => readonly Dispatch[] {
    const operations = this.harness.build({ kv }).attention(this.#layer(), this.#place(kv));
    return (tokens) => {
      const parts = attentionPartsFor(
        { tokens, positions: POSITIONS },
        mostAttentionParts(this.harness.tuning),
      );
      return operations.map((operation) => operation.at(tokens, parts));
    };
  }

  #choice(
    names: readonly (keyof ReturnType<typeof choiceKernels>)[],
  ): (tokens: number) => readonly Dispatch[] {
    const { harness, model } = this;
    const logits = floats(MOST_TOKENS * model.vocabSize, this.#random);
    harness.uploader.write(harness.scratch.logits, 0, logits);
    const kernels = choiceKernels(harness, model.vocabSize);
    return (tokens) => names.map((name) => kernels[name](tokens));
  }

  #cache(kv: KvType) {
    const { kvHeads, headDim } = this.model;
    const [keys, values] = [0, 1].map(() => {
      const numbers = floats(MOST_TOKENS * POSITIONS * kvHeads * headDim, this.#random);
      return this.harness.buffer(kv === "f16" ? new Uint32Array(packF16(numbers)) : numbers);
    });
    return { keys: keys!, values: values!, table: { group: 0, groups: 1 } };
  }
}

function duplicate(gpu: Gpu, matrix: DeviceMatrix): DeviceMatrix {
  const encoder = gpu.device.createCommandEncoder({ label: "copies of a matrix" });
  const copy = (buffer: GPUBuffer) => {
    const twin = createBuffer(gpu, { label: buffer.label, bytes: buffer.size, purpose: "weights" });
    encoder.copyBufferToBuffer(buffer, 0, twin, 0, buffer.size);
    return twin;
  };
  const parts = matrix.parts.map((part) => ({
    ...part,
    quants: copy(part.quants),
    scales: part.scales && copy(part.scales),
  }));
  gpu.device.queue.submit([encoder.finish()]);
  return { ...matrix, parts };
}
