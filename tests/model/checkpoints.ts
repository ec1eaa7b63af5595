/** Tiny models as directories: safetensors, two of them with scaled RoPE, and MLX's formats. */

import { mlxName, TINY_MLX, tinyMlx } from "../../fixtures/tiny_mlx.ts";
import {
  type ModelDirectory,
  TINY_SAFETENSORS,
  tinySafetensors,
  tinyScaled,
} from "../../fixtures/tiny_safetensors.ts";

/** By the golden's name. Those in BF16 and every second one of MLX have several weight files. */
export const CHECKPOINTS: Readonly<Record<string, ModelDirectory>> = {
  ...Object.fromEntries(
    TINY_SAFETENSORS.map(([architecture, type]) => [
      `safetensors-${architecture}-${type.toLowerCase()}`,
      tinySafetensors(architecture, type, type === "BF16" ? 3 : 1),
    ]),
  ),
  "safetensors-qwen2-yarn": tinyScaled("yarn"),
  "safetensors-qwen2-linear": tinyScaled("linear"),
  ...Object.fromEntries(
    TINY_MLX.map((model, i) => [mlxName(model), tinyMlx(model, 1 + i % 2)]),
  ),
};
