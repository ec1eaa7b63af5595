/**
 * Splits matrices that files store fused into the separate ones that the engine uses. Rows are
 * contiguous in every format, so a part consists of byte ranges of the whole: a single range, or
 * many if the rows of the parts alternate.
 */

import { type ModelFile, type TensorInfo, withTensors } from "../files/model_file.ts";
import { architectureOf } from "./architectures/mod.ts";
import type { AttentionSpec, ModelConfig } from "./config.ts";
import { type ExpectedWeight, expectedWeights } from "./expected_weights.ts";
import type { LayerWeight } from "./weight_names.ts";

/** The scheme of a file's tensor names. */
export type Naming = "gguf" | "hf";

/** A fused weight and its parts, from the top row down; `{}` stands for the layer. */
interface Fused {
  readonly gguf: string;
  readonly hf: string;
  readonly parts: readonly LayerWeight[];
  /** Whether every file stores the parts fused. */
  readonly always?: boolean;
}

const fused = (kind: "weight" | "bias", of: "" | "Bias"): readonly Fused[] => [
  {
    gguf: `blk.{}.attn_qkv.${kind}`,
    hf: `model.layers.{}.self_attn.qkv_proj.${kind}`,
    parts: [`query${of}`, `key${of}`, `value${of}`],
  },
  {
    // GGUF uses the name of `up` for the fused matrix too, which has twice the rows.
    gguf: `blk.{}.ffn_up.${kind}`,
    hf: `model.layers.{}.mlp.gate_up_proj.${kind}`,
    parts: [`gate${of}`, `up${of}`],
  },
];
/** The input projection of Mamba. */
const MAMBA: Fused = {
  gguf: "blk.{}.ssm_in.weight",
  hf: "backbone.layers.{}.mixer.in_proj.weight",
  parts: ["recurrentGate", "recurrentInputs", "recurrentStep"],
  always: true,
};
const FUSED = [...fused("weight", ""), ...fused("bias", "Bias"), MAMBA];

/** A fused weight of a model, and its parts. */
interface Found {
  readonly whole: ExpectedWeight;
  readonly parts: readonly ExpectedWeight[];
  /** If the parts alternate, the number of rows of one part before the next part's rows. */
  readonly turn?: number;
  /** Whether every file stores the parts fused. */
  readonly always: boolean;
}

function* findFused(config: ModelConfig): Generator<Found> {
  const byLayer = new Map<string, ExpectedWeight>();
  for (const expected of expectedWeights(config)) {
    byLayer.set(`${expected.layer} ${expected.weight}`, expected);
  }
  for (const [layer, { mixer }] of config.layers.entries()) {
    for (const { gguf, hf, parts: names, always = false } of FUSED) {
      const parts = names.map((name) => byLayer.get(`${layer} ${name}`)!);
      // Delta nets have weights with the same names, but files store them separately.
      if (parts.includes(undefined!) || always && mixer?.kind !== "mamba") continue;
      const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
      const named = (name: string) => name.replace("{}", String(layer));
      const whole = {
        ...parts[0]!,
        name: named(gguf),
        gguf: named(gguf),
        hf: named(hf),
        shape: [rows, ...parts[0]!.shape.slice(1)],
      };
      yield { whole, parts, always };
    }
    const stack = stackedGates(byLayer, layer);
    if (stack) yield stack;
    const [query, gate] = [byLayer.get(`${layer} query`), byLayer.get(`${layer} queryGate`)];
    if (query === undefined || gate === undefined) continue;
    // For each head, the rows of its query come first, then those of its gate.
    const [rows, columns] = query.shape as [number, number];
    const whole = { ...query, shape: [2 * rows, columns] };
    yield { whole, parts: [query, gate], turn: (mixer as AttentionSpec).headDim, always: true };
  }
}

/**
 * Returns the fused tensor of experts' gates and ups that some conversions to GGUF write. It has
 * the gate of an expert first, then its up.
 */
function stackedGates(
  byLayer: ReadonlyMap<string, ExpectedWeight>,
  layer: number,
): Found | undefined {
  const [gates, ups] = [byLayer.get(`${layer} expertGates`), byLayer.get(`${layer} expertUps`)];
  if (gates === undefined || ups === undefined) return undefined;
  const [count, rows, columns] = gates.shape as [number, number, number];
  const gguf = `blk.${layer}.ffn_gate_up_exps.weight`;
  const whole = { ...gates, name: gguf, gguf, hf: gguf, shape: [count, 2 * rows, columns] };
  return { whole, parts: [gates, ups], turn: rows, always: false };
}

/** Returns the rows of a matrix, or of all matrices in a stack, or the elements of a vector. */
function rowsOf(shape: readonly number[]): number {
  return shape.length === 1 ? shape[0]! : shape.slice(0, -1).reduce((a, b) => a * b);
}

/** Returns the weights of a model as files of its architecture store them, fused or separate. */
export function storedWeights(config: ModelConfig): ExpectedWeight[] {
  const { fused = false } = architectureOf(config);
  const wholes = new Map<string, ExpectedWeight>();
  for (const { whole, parts, always } of findFused(config)) {
    if (!fused && !always) continue;
    for (const { name } of parts) wholes.set(name, whole);
  }
  const stored = Array.from(expectedWeights(config), (weight) => wholes.get(weight.name) ?? weight);
  return [...new Set(stored)];
}

/** Returns the same file, in which the parts replace each fused weight. */
export function splitFused(file: ModelFile, config: ModelConfig, naming: Naming): ModelFile {
  const name = (weight: ExpectedWeight) => naming === "gguf" ? weight.gguf : weight.hf;
  const tensors = new Map(file.tensors);
  const places = new Map<TensorInfo, Place>();
  for (const { whole: expected, parts, turn } of findFused(config)) {
    const whole = file.tensors.get(name(expected));
    if (whole === undefined || String(whole.shape) !== String(expected.shape)) continue;
    tensors.delete(name(expected));
    const rowBytes = whole.byteLength / rowsOf(whole.shape);
    let offset = 0;
    for (const part of parts) {
      const byteLength = rowsOf(part.shape) * rowBytes;
      const tensor = { ...whole, name: name(part), shape: part.shape, byteLength };
      const bytes = turn === undefined ? byteLength : turn * rowBytes;
      places.set(tensor, { whole, offset, turn: bytes, every: parts.length * bytes });
      tensors.set(tensor.name, tensor);
      offset += bytes;
    }
  }
  if (places.size === 0) return file;
  return withTensors(file, tensors, (tensor, offset, into) => {
    const place = places.get(tensor);
    if (place === undefined) return file.read(tensor, offset, into);
    if (offset < 0 || offset + into.length > tensor.byteLength) {
      throw new RangeError(
        `Cannot read tensor '${tensor.name}': bytes ${offset} to ${offset + into.length} ` +
          `are outside its ${tensor.byteLength} bytes`,
      );
    }
    for (let done = 0; done < into.length;) {
      const [turn, within] = [
        Math.floor((offset + done) / place.turn),
        (offset + done) % place.turn,
      ];
      const count = Math.min(place.turn - within, into.length - done);
      const from = place.offset + turn * place.every + within;
      file.read(place.whole, from, into.subarray(done, done + count));
      done += count;
    }
  });
}

/** The bytes of a part within `whole`: from `offset` on, `turn` of every `every` bytes. */
interface Place {
  readonly whole: TensorInfo;
  readonly offset: number;
  readonly turn: number;
  readonly every: number;
}
