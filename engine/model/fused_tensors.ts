/**
 * Matrices that files keep one below the other, as the engine has them: apart. Rows are contiguous in
 * every format, so that a part is a range of the whole's bytes.
 */

import { type ModelFile, type TensorInfo, withTensors } from "../files/model_file.ts";
import { architectureOf } from "./architectures/mod.ts";
import type { ModelConfig } from "./config.ts";
import { type ExpectedWeight, expectedWeights } from "./expected_weights.ts";
import type { LayerWeight } from "./weight_names.ts";

/** Whose names a file has. */
export type Naming = "gguf" | "hf";

/** A fused weight and its parts from the top; `{}` stands for the layer. */
interface Fused {
  readonly gguf: string;
  readonly hf: string;
  readonly parts: readonly LayerWeight[];
}

const fused = (kind: "weight" | "bias", of: "" | "Bias"): readonly Fused[] => [
  {
    gguf: `blk.{}.attn_qkv.${kind}`,
    hf: `model.layers.{}.self_attn.qkv_proj.${kind}`,
    parts: [`query${of}`, `key${of}`, `value${of}`],
  },
  {
    // In GGUF a fused one has twice the rows.
    gguf: `blk.{}.ffn_up.${kind}`,
    hf: `model.layers.{}.mlp.gate_up_proj.${kind}`,
    parts: [`gate${of}`, `up${of}`],
  },
];
const FUSED = [...fused("weight", ""), ...fused("bias", "Bias")];

/** The parts of one fused weight of a model, and what they are together. */
interface Found {
  readonly whole: ExpectedWeight;
  readonly parts: readonly ExpectedWeight[];
}

function* findFused(config: ModelConfig): Generator<Found> {
  const byLayer = new Map<string, ExpectedWeight>();
  for (const expected of expectedWeights(config)) {
    byLayer.set(`${expected.layer} ${expected.weight}`, expected);
  }
  for (let layer = 0; layer < config.layers.length; layer++) {
    for (const { gguf, hf, parts: names } of FUSED) {
      const parts = names.map((name) => byLayer.get(`${layer} ${name}`)!);
      if (parts.includes(undefined!)) continue;
      const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
      const named = (name: string) => name.replace("{}", String(layer));
      const whole = {
        ...parts[0]!,
        name: named(gguf),
        hf: named(hf),
        shape: [rows, ...parts[0]!.shape.slice(1)],
      };
      yield { whole, parts };
    }
  }
}

/** The weights of a model as its architecture's files have them, fused or apart. */
export function storedWeights(config: ModelConfig): ExpectedWeight[] {
  if (!architectureOf(config).fused) return [...expectedWeights(config)];
  const wholes = new Map<string, ExpectedWeight>();
  for (const { whole, parts } of findFused(config)) {
    for (const { name } of parts) wholes.set(name, whole);
  }
  const stored = Array.from(expectedWeights(config), (weight) => wholes.get(weight.name) ?? weight);
  return [...new Set(stored)];
}

/** The same file with the parts of fused weights for each of them. */
export function splitFused(file: ModelFile, config: ModelConfig, naming: Naming): ModelFile {
  const name = (weight: ExpectedWeight) => naming === "gguf" ? weight.name : weight.hf;
  const tensors = new Map(file.tensors);
  const places = new Map<TensorInfo, { readonly whole: TensorInfo; readonly offset: number }>();
  for (const { whole: expected, parts } of findFused(config)) {
    const whole = file.tensors.get(name(expected));
    if (whole === undefined || String(whole.shape) !== String(expected.shape)) continue;
    tensors.delete(whole.name);
    const rowBytes = whole.byteLength / whole.shape[0]!;
    let offset = 0;
    for (const part of parts) {
      const byteLength = part.shape[0]! * rowBytes;
      const tensor = { ...whole, name: name(part), shape: part.shape, byteLength };
      places.set(tensor, { whole, offset });
      tensors.set(tensor.name, tensor);
      offset += byteLength;
    }
  }
  if (places.size === 0) return file;
  return withTensors(file, tensors, (tensor, offset, into) => {
    const place = places.get(tensor);
    if (place === undefined) return file.read(tensor, offset, into);
    if (offset < 0 || offset + into.length > tensor.byteLength) {
      throw new RangeError(
        `Cannot read tensor '${tensor.name}': bytes ${offset} to ${offset + into.length} ` +
          `are beyond its ${tensor.byteLength}`,
      );
    }
    file.read(place.whole, place.offset + offset, into);
  });
}
