/** What a report says of the device, the model and the program. */

import type { Model } from "../../engine/mod.ts";
import type { Gpu } from "../../engine/gpu/device.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { ggufName } from "../../engine/model/weight_names.ts";
import type { Environment } from "../report/report.ts";
import type { Target } from "./target.ts";

/** The environment of a loaded model; `gpu` where one runs it. */
export function modelEnvironment(
  { file, config, runner, contextLength, fallback }: Model,
  gpu: Gpu | undefined,
  program: { readonly tvllm: string; readonly kvType: "f16" | "f32" },
): Environment {
  const bytesByType = new Map<string, number>();
  let [parameters, tensorBytes, readBytes, readWeights] = [0, 0, 0, 0];
  for (const { name, type, shape, byteLength } of file.tensors.values()) {
    const weights = shape.reduce((a, b) => a * b, 1);
    parameters += weights;
    tensorBytes += byteLength;
    bytesByType.set(type, (bytesByType.get(type) ?? 0) + byteLength);
    const share = shareRead(name, shape, config);
    readBytes += byteLength * share;
    readWeights += weights * share;
  }
  // Layers are alike in these, in all architectures that there are.
  const { mixer, feedForward } = config.layers[0]!;
  return {
    device: {
      description: runner.device.description,
      vendor: gpu?.vendor ?? "",
      architecture: gpu?.architecture ?? "",
      kind: runner.device.kind,
      driver: runner.device.driver,
      ...(fallback !== undefined && { reason: fallback }),
    },
    model: {
      name: config.name,
      architecture: config.architecture,
      parameters,
      formats: [...bytesByType].sort((a, b) => b[1] - a[1]).map(([type]) => type),
      bitsPerWeight: 8 * tensorBytes / parameters,
      fileBytes: file.byteLength,
      tensorBytes,
      readBytes,
      readWeights,
      deviceBytes: gpu?.memory.weights ?? tensorBytes,
      dim: config.dim,
      layers: config.layers.length,
      heads: mixer.heads,
      kvHeads: mixer.kvHeads,
      headDim: mixer.headDim,
      ffnDim: feedForward.width,
      vocabSize: config.vocabSize,
      contextLength,
    },
    engine: {
      tvllm: program.tvllm,
      deno: Deno.version.deno,
      kernels: runner.device.detail ?? runner.device.driver,
      kvType: program.kvType,
    },
  };
}

/** How much of a tensor a decoded token reads: of experts those it is routed to. */
function shareRead(name: string, shape: readonly number[], config: ModelConfig): number {
  // Of an embedding matrix that is not the output head too, it is one row.
  if (name === ggufName("embedding") && !config.tiedOutput) return 1 / (shape[0] ?? 1);
  const { feedForward: f } = config.layers[0]!;
  return shape.length === 3 && f.kind === "experts" ? f.used / f.count : 1;
}

/** The matrices that a decoded token multiplies with, and the kernel that does. */
export function modelMatrices({ file, config, runner }: Model): Target["matrices"] {
  return Array.from(file.tensors.values())
    .filter(({ name, shape }) =>
      shape.length >= 2 && (config.tiedOutput || name !== ggufName("embedding"))
    )
    .flatMap(({ name, type, shape, byteLength }) => {
      const [columns = 1, rows = 1, count = 1] = shape.toReversed();
      const matrix = {
        // On the CPU experts are multiplied one by one.
        kernel: `${
          count > 1 && runner.device.kind === "gpu" ? "experts" : "matmul"
        }_${type.toLowerCase()}`,
        rows,
        columns,
        bytes: byteLength / count,
      };
      const used = Math.round(count * shareRead(name, shape, config));
      return Array.from({ length: used }, () => matrix);
    });
}
