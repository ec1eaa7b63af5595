/** Models with one of their features switched off: the goldens must notice. */

import assert from "node:assert/strict";
import type { ModelFile } from "../../engine/files/model_file.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import type {
  AttentionSpec,
  DenseSpec,
  LayerSpec,
  ModelConfig,
} from "../../engine/model/config.ts";
import { readModel } from "../../engine/model/read_model.ts";
import type { RopeSpec } from "../../engine/model/rope.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import type { ModelRunner } from "../../engine/run/runner.ts";
import { compareWithGolden, readGolden } from "../assert.ts";
import { logitsOf } from "../reference/tiny_runner.ts";

/** Functions that switch off a feature, by its name. */
export type Without = Readonly<Record<string, (config: ModelConfig) => ModelConfig>>;

export function withLayers(
  config: ModelConfig,
  change: (layer: LayerSpec) => LayerSpec,
): ModelConfig {
  return { ...config, layers: config.layers.map(change) };
}

export function withMixers(
  config: ModelConfig,
  change: (mixer: AttentionSpec) => AttentionSpec,
): ModelConfig {
  return withLayers(
    config,
    ({ mixer, ...layer }) =>
      mixer?.kind === "attention"
        ? { ...layer, mixer: change(mixer) }
        : { ...layer, ...mixer && { mixer } },
  );
}

export function withRope(config: ModelConfig, change: Partial<RopeSpec>): ModelConfig {
  return withMixers(config, (mixer) => ({ ...mixer, rope: { ...mixer.rope, ...change } }));
}

export function withDense(config: ModelConfig, change: Partial<DenseSpec>): ModelConfig {
  return withLayers(config, (layer) => {
    assert.equal(layer.feedForward?.kind, "dense");
    return { ...layer, feedForward: { ...layer.feedForward as DenseSpec, ...change } };
  });
}

/** Writes a model, calls `read` with its path, and returns the runners. */
export type Open = (read: (path: string) => Runners) => Runners;
type Runners = { readonly feature: string; readonly runner: ModelRunner }[];

/** Asserts that without any one feature the error is 100 times what is allowed for runners. */
export async function assertNoticed(golden: string, without: Without, open: Open): Promise<void> {
  const expected = readGolden(golden);
  const runners = open((path) => {
    const file = openModelFile(path);
    try {
      const { config, weights } = readModel(file);
      return Object.entries(without).map(([feature, change]) => {
        return { feature, runner: loadReferenceRunner(weights, change(config)) };
      });
    } finally {
      file.close();
    }
  });
  for (const { feature, runner } of runners) {
    const { meanKl } = compareWithGolden(expected, await logitsOf(runner, expected.ids));
    assert.ok(meanKl > 1e-3, `without ${feature}: mean KL ${meanKl}`);
  }
}

/** Returns the file with other values, in F32, in the tensors whose names contain `part`. */
export function withValues(
  file: ModelFile,
  part: string,
  value: (index: number) => number,
): ModelFile {
  return {
    ...file,
    tensors: new Map(
      Array.from(file.tensors, ([name, tensor]) => {
        if (!name.includes(part)) return [name, tensor];
        const count = tensor.shape.reduce((a, b) => a * b);
        return [name, { ...tensor, type: "F32", byteLength: 4 * count }];
      }),
    ),
    read: (tensor, offset, into) => {
      if (!file.tensors.has(tensor.name) || !tensor.name.includes(part)) {
        return file.read(tensor, offset, into);
      }
      const values = Float32Array.from(
        { length: into.length / 4 },
        (_, i) => value(offset / 4 + i),
      );
      into.set(new Uint8Array(values.buffer));
    },
  };
}
