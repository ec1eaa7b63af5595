/**
 * Presents the text model within a checkpoint as if it had been saved alone: with the names and
 * shapes of tensors that such a checkpoint has.
 */

import { dequantize } from "../../kernels/dequantize.ts";
import { type ModelFile, type TensorInfo, withTensors } from "../files/model_file.ts";

/** Describes for `noteOf` the layers after the model's own, which predict tokens further ahead. */
export const DRAFTS = "its layers for multi-token prediction (MTP) are";

/** Returns the note that a part of the model, described by `part`, is not used. */
export function noteOf(part: string, tensors: number): string {
  return `${part} not used (${tensors} ${tensors === 1 ? "tensor" : "tensors"})`;
}

/** Parts of models that tvllm does not run, recognized by the prefix of their tensors' names. */
const OTHER_PARTS = [
  [/^(model\.)?(visual|vision_tower|vision_model|multi_modal_projector)\./, "its vision tower is"],
  [/^(model\.|language_model\.)*mtp\./, DRAFTS],
] as const;

/** Prefixes of a text model that is part of a larger one, as transformers and mlx-lm save it. */
const PREFIX = /^(model\.language_model|language_model\.model)\./;
const HEAD_PREFIX = /^language_model\.(?=lm_head\.)/;

/** The text model of a checkpoint. */
export interface CheckpointView {
  readonly file: ModelFile;
  /** Whether mlx-lm saved the checkpoint; mlx-lm changes some tensors. */
  readonly mlx: boolean;
  /** One line for each part that was left out. */
  readonly notes: readonly string[];
}

export function checkpointView(file: ModelFile): CheckpointView {
  const tensors = new Map<string, TensorInfo>();
  const packed = new Map<TensorInfo, TensorInfo>();
  const others = new Map<string, number>();
  let mlx = false;
  for (const [name, tensor] of file.tensors) {
    const other = OTHER_PARTS.find(([pattern]) => pattern.test(name))?.[1];
    if (other !== undefined) {
      others.set(other, (others.get(other) ?? 0) + 1);
      continue;
    }
    const own = name.replace(PREFIX, "model.").replace(HEAD_PREFIX, "");
    const { shape } = tensor;
    if (own.endsWith(".conv1d.weight") && shape.length === 3) {
      // PyTorch stores [channels, 1, taps], MLX stores [channels, taps, 1].
      if (shape[2] === 1 && shape[1] !== 1) mlx = true;
      tensors.set(own, { ...tensor, shape: [shape[0]!, shape[1]! * shape[2]!] });
    } else if (own.endsWith(".shared_expert_gate.weight") && shape[0] === 1) {
      const columns = shape[1]!;
      const vector = { ...tensor, type: "F32", shape: [columns], byteLength: 4 * columns } as const;
      tensors.set(own, vector);
      packed.set(vector, tensor);
    } else {
      tensors.set(own, tensor);
    }
  }
  const view = withTensors(file, tensors, (tensor, offset, into) => {
    const row = packed.get(tensor);
    if (row === undefined) return file.read(tensor, offset, into);
    const bytes = new Uint8Array(row.byteLength);
    file.read(row, 0, bytes);
    const values = new Float32Array(tensor.shape[0]!);
    dequantize(row.type, bytes, values);
    into.set(new Uint8Array(values.buffer).subarray(offset, offset + into.length));
  });
  const notes = Array.from(others, ([part, count]) => noteOf(part, count));
  return { file: view, mlx, notes };
}
