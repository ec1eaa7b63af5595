/** The parts of a report that describe the device, the model and the program. */

import type { Model } from "../../engine/mod.ts";
import { CpuRunner } from "../../engine/cpu/runner.ts";
import type { Gpu } from "../../engine/gpu/device.ts";
import { layerKinds, stateCost, weightReads } from "../../engine/model/costs.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import type { Environment } from "../report/report.ts";
import type { Target } from "./target.ts";

/** The program that runs the benchmark, and the machine it runs on. */
export interface Program {
  readonly tvllm: string;
  readonly commit: string;
  /** The version of the driver of the adapter with this description, if it can be found. */
  readonly driverOf: (description: string) => string | undefined;
  readonly kvType: "f16" | "f32";
  readonly startup: Target["startup"];
  readonly host: Omit<Environment["host"], "threads">;
  /** SHA-256 of the model's file. */
  readonly sha256: string;
}

/** The facts about a model that do not depend on what runs it. */
export function modelFacts(
  { file, config }: Pick<Model, "file" | "config">,
): Omit<Environment["model"], "sha256" | "deviceBytes" | "contextLength"> {
  const bytesByType = new Map<string, number>();
  let [parameters, tensorBytes, readBytes, readWeights] = [0, 0, 0, 0];
  for (const { tensor: { type, shape, byteLength }, share } of weightReads(config, file.tensors)) {
    const weights = shape.reduce((a, b) => a * b, 1);
    parameters += weights;
    tensorBytes += byteLength;
    bytesByType.set(type, (bytesByType.get(type) ?? 0) + byteLength);
    readBytes += byteLength * share;
    readWeights += weights * share;
  }
  // Heads and widths are those of the first such layer; `layerKinds` has what differs between
  // layers.
  const mixer = attentionsOf(config.layers)[0]!;
  const feedForward = config.layers.find(({ feedForward }) => feedForward)!.feedForward!;
  const states = stateCost(config);
  return {
    name: config.name,
    architecture: config.architecture,
    parameters,
    formats: [...bytesByType].sort((a, b) => b[1] - a[1]).map(([type]) => type),
    bitsPerWeight: 8 * tensorBytes / parameters,
    fileBytes: file.byteLength,
    tensorBytes,
    readBytes,
    readWeights,
    dim: config.dim,
    layers: config.layers.length,
    layerKinds: layerKinds(config),
    ...(states && { states }),
    heads: mixer.heads,
    kvHeads: mixer.kvHeads,
    headDim: mixer.headDim,
    ffnDim: feedForward.width,
    vocabSize: config.vocabSize,
  };
}

/** The environment of a loaded model. `gpu`: the GPU that runs it, if there is one. */
export function modelEnvironment(
  { file, config, runner, contextLength, fallback }: Model,
  gpu: Gpu | undefined,
  program: Program,
): Environment {
  const facts = modelFacts({ file, config });
  const { tvllm, commit, driverOf, kvType, host, sha256 } = program;
  const cpu = runner instanceof CpuRunner ? runner : undefined;
  return {
    // Software drivers compute on all processors, hardware drivers on the GPU.
    host: {
      ...host,
      threads: gpu === undefined ? cpu?.threads ?? 1 : gpu.driver === "software" ? host.cores : 1,
    },
    device: {
      description: runner.device.description,
      vendor: gpu?.vendor ?? "",
      architecture: gpu?.architecture ?? "",
      kind: runner.device.kind,
      driver: runner.device.driver,
      ...(fallback !== undefined && { reason: fallback }),
      api: gpu?.api ?? "none",
      driverVersion: (gpu?.api === "Vulkan" ? driverOf(gpu.description) : undefined) ??
        gpu?.driverVersion ?? "none",
    },
    model: {
      ...facts,
      sha256,
      deviceBytes: (gpu ?? cpu)?.memory.weights ?? facts.tensorBytes,
      contextLength,
    },
    engine: {
      tvllm,
      commit,
      deno: Deno.version.deno,
      kernels: kernelsOf(runner.device),
      kvType,
    },
  };
}

/**
 * As in `software, defaults for software drivers`; for the CPU, its threads and the form of its
 * kernels.
 */
function kernelsOf({ kind, driver, detail }: Model["device"]): string {
  if (kind === "cpu") return detail ?? driver;
  return detail === undefined ? driver : `${driver}, ${detail}`;
}

/** The matrices that a decoded token is multiplied by, and the kernels that do it. */
export function modelMatrices({ file, config, runner }: Model): Target["matrices"] {
  return weightReads(config, file.tensors)
    // An embedding of which only one row is read is not multiplied.
    .filter(({ isMatrix, share }) => isMatrix && share > 1 / config.vocabSize)
    .flatMap(({ tensor: { type, shape, byteLength }, share }) => {
      const [columns = 1, rows = 1, count = 1] = shape.toReversed();
      const matrix = {
        // On the CPU, experts are multiplied one by one.
        kernel: `${
          count > 1 && runner.device.kind === "gpu" ? "experts" : "matmul"
        }_${type.toLowerCase()}`,
        rows,
        columns,
        bytes: byteLength / count,
      };
      const used = Math.round(count * share);
      return Array.from({ length: used }, () => matrix);
    });
}
