/** The kernels that can be measured, by name. */

import type { KvType } from "../../kernels/sizes.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";

export const TYPES = Object.keys(GROUP_LAYOUT) as readonly TensorType[];
export const KV_TYPES: readonly KvType[] = ["f16", "f32"];

const NAMES = [
  ...TYPES.flatMap((type) => [`matmul ${type}`, `embed ${type}`]),
  "top_k",
  "experts Q4_0",
  "combine",
  ...KV_TYPES.flatMap((kv) => [`rope_append ${kv}`, `attention ${kv}`]),
  "logit_adjust",
  "sampling",
];

/** Whether `only` selects a kernel by words of its name, as in `matmul/q4_1,attention`. */
export function isNamed(kernel: string, only: string | undefined): boolean {
  const words = (text: string) => ` ${text.toLowerCase().split(/[^a-z0-9]+/).join(" ").trim()} `;
  return only === undefined ||
    only.split(",").some((part) => words(kernel).includes(words(part)));
}

/** Whether each part of `only` names a kernel. */
export function namesKernels(only: string): boolean {
  return only.split(",").every((part) => NAMES.some((name) => isNamed(name, part)));
}
