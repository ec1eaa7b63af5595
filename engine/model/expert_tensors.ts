/** Presents a checkpoint's expert matrices as three-dimensional tensors, the form that GGUF has. */

import { ModelFormatError } from "../errors.ts";
import { type ModelFile, type TensorInfo, withTensors } from "../files/model_file.ts";
import { printable } from "../files/quote.ts";
import { MAX_EXPERTS } from "./config_bounds.ts";

/** Names that transformers saves: the prefix, the expert's number, the rest. */
const ONE =
  /^((?:model|backbone)\.layers\.\d+\.(?:mlp|mixer)\.experts)\.(0|[1-9]\d{0,3})\.((?:gate|up|down)_proj\.weight)$/;
/** Names that newer versions save: experts are stacked, and each one's gate is above its up. */
const FUSED = /^(model\.layers\.\d+\.mlp\.experts)\.gate_up_proj$/;
const FUSED_DOWN = /^(model\.layers\.\d+\.mlp\.experts\.down_proj)$/;
/** Names that mlx-lm saves: already stacked. Experts without a gate have different names. */
const STACKED =
  /^((?:model|backbone)\.layers\.\d+\.(?:mlp|mixer))\.switch_mlp\.((?:gate_proj|up_proj|down_proj|fc1|fc2)\.weight)$/;
const GATELESS = { "fc1.weight": "up_proj.weight", "fc2.weight": "down_proj.weight" } as const;

/**
 * Returns the same file with the matrices `….mlp.experts.0.gate_proj.weight`, `….1.…` and so on
 * combined to a tensor `….mlp.experts.gate_proj.weight` [experts, rows, columns]. Tensors that are
 * already stacked get the same names.
 *
 * @throws {ModelFormatError} if an expert is missing, or differs from others in type or shape.
 */
export function stackExperts(file: ModelFile): ModelFile {
  const tensors = new Map<string, TensorInfo>();
  const stacks = new Map<string, TensorInfo[]>();
  const partsOf = new Map<TensorInfo, readonly Part[]>();
  for (const [name, tensor] of file.tensors) {
    const [, fused] = FUSED.exec(name) ?? [];
    if (fused !== undefined && tensor.shape.length === 3) {
      for (const half of splitFused(tensor)) {
        const own = `${fused}.${half.kind}_proj.weight`;
        const stacked = { ...half.tensor, name: own };
        tensors.set(own, stacked);
        partsOf.set(stacked, half.parts);
      }
      continue;
    }
    const [, before, number, after] = ONE.exec(name) ?? [];
    if (number !== undefined && Number(number) < MAX_EXPERTS) {
      const stack = `${before}.${after}`;
      if (!stacks.has(stack)) stacks.set(stack, []);
      stacks.get(stack)![Number(number)] = tensor;
    } else {
      const own = name.replace(STACKED, (_, before: string, after: string) => {
        return `${before}.experts.${GATELESS[after as keyof typeof GATELESS] ?? after}`;
      }).replace(FUSED_DOWN, "$1.weight");
      tensors.set(own, tensor);
    }
  }
  for (const [name, parts] of stacks) {
    const stacked = stackOf(file, name, parts);
    tensors.set(name, stacked);
    partsOf.set(stacked, parts.map((tensor) => ({ tensor, offset: 0 })));
  }
  return withTensors(file, tensors, (tensor, offset, into) => {
    const parts = partsOf.get(tensor);
    if (parts === undefined) file.read(tensor, offset, into);
    else readParts({ file, tensor, parts }, offset, into);
  });
}

/** The bytes of a tensor from `offset` on. */
interface Part {
  readonly tensor: TensorInfo;
  readonly offset: number;
}

/** Splits a tensor [experts, rows of gate then up, columns] into the gates and the ups. */
function splitFused(tensor: TensorInfo) {
  const [count, rows, columns] = tensor.shape as [number, number, number];
  const shape = [count, rows / 2, columns];
  const byteLength = tensor.byteLength / 2;
  return (["gate", "up"] as const).map((kind, half) => ({
    kind,
    tensor: { ...tensor, shape, byteLength },
    parts: Array.from({ length: count }, (_, i): Part => ({
      tensor,
      offset: (2 * i + half) * byteLength / count,
    })),
  }));
}

function stackOf(file: ModelFile, name: string, parts: readonly TensorInfo[]): TensorInfo {
  const first = parts.find((part) => part !== undefined)!;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const alike = part?.type === first.type && String(part.shape) === String(first.shape);
    if (alike) continue;
    throw new ModelFormatError(
      `Cannot use ${printable(file.paths[first.file]!)}: expert ${i} of the ${parts.length} in ` +
        `'${name}' ${part ? "does not match the others" : "is missing"}; ` +
        `the files are damaged: download them again`,
    );
  }
  return {
    ...first,
    name,
    shape: [parts.length, ...first.shape],
    byteLength: parts.length * first.byteLength,
  };
}

interface Stack {
  readonly file: ModelFile;
  readonly tensor: TensorInfo;
  readonly parts: readonly Part[];
}

function readParts({ file, tensor, parts }: Stack, offset: number, into: Uint8Array): void {
  if (offset < 0 || offset + into.length > tensor.byteLength) {
    throw new RangeError(
      `Cannot read tensor '${tensor.name}': bytes ${offset} to ${offset + into.length} ` +
        `are outside its ${tensor.byteLength} bytes`,
    );
  }
  const size = tensor.byteLength / parts.length;
  for (let done = 0; done < into.length;) {
    const at = offset + done;
    const within = at % size;
    const count = Math.min(size - within, into.length - done);
    const part = parts[Math.floor(at / size)]!;
    file.read(part.tensor, part.offset + within, into.subarray(done, done + count));
    done += count;
  }
}
