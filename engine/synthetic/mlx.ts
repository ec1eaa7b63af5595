/**
 * Builds random weights in MLX's quantized formats: quants packed in order in 32-bit words, with a
 * bfloat16 scale and bias for each group of a row, so that w = scale · quant + bias.
 * Source: `quantize` in MLX's documentation, and the config.json that mlx-lm writes.
 */

import { RandomSource } from "../files/random_weights.ts";
import type { SafetensorsData } from "../files/safetensors_writer.ts";
import type { ExpectedWeight } from "../model/expected_weights.ts";

/** MLX's formats, named by their bits per weight. */
export const MLX_FORMATS = ["MLX3", "MLX4", "MLX5", "MLX6", "MLX8"] as const;
export type MlxFormat = typeof MLX_FORMATS[number];

/** Number of weights that share a scale: mlx-lm's default. */
const GROUP = 64;
/** Numbers generated at a time. */
const PIECE = 2 ** 16;

export function isMlx(format: string): format is MlxFormat {
  return (MLX_FORMATS as readonly string[]).includes(format);
}

/** Returns the bits per weight. */
function bitsOf(format: MlxFormat): number {
  return Number(format.slice(3));
}

/** Returns the keys of config.json that describe the quantization. */
export function mlxConfig(format: MlxFormat): Record<string, unknown> {
  const quantization = { group_size: GROUP, bits: bitsOf(format) };
  return { quantization, quantization_config: quantization };
}

/** Returns the three tensors of a matrix, or of the stacked matrices of all experts. */
export function mlxTensors(
  { gguf: name, hf, shape }: Pick<ExpectedWeight, "gguf" | "hf" | "shape">,
  format: MlxFormat,
  seed: number,
): SafetensorsData[] {
  const bits = bitsOf(format);
  const columns = shape.at(-1)!;
  if (columns % GROUP !== 0) {
    throw new RangeError(
      `Cannot generate ${hf} in ${format}: its rows have ${columns} weights, not a multiple of ${GROUP}`,
    );
  }
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const stem = hf.replace(/\.weight$/, "").replace(".experts.", ".switch_mlp.")
    // Experts without a gate have different names.
    .replace(".mixer.switch_mlp.up_proj", ".mixer.switch_mlp.fc1")
    .replace(".mixer.switch_mlp.down_proj", ".mixer.switch_mlp.fc2");
  // The same standard deviation as in weights.ts, for uniformly distributed quants.
  const gain = /^(token_embd|output)\./.test(name) ? 1.5 : 1;
  const steps = 2 ** bits - 1;
  const unit = gain / Math.sqrt(columns) / Math.sqrt(((steps + 1) ** 2 - 1) / 12);
  const groups = rows * columns / GROUP;
  const scale = (random: RandomSource) => unit * (0.75 + random.uniform() / 2);
  const halves = (part: "scales" | "biases", factor: number): SafetensorsData => ({
    name: `${stem}.${part}`,
    type: "BF16",
    shape: shape.with(-1, columns / GROUP),
    *data() {
      // Both tensors use the same random numbers, so that the mean of each group is 0.
      const random = new RandomSource(seed, `${name} scales`);
      for (let done = 0; done < groups; done += PIECE) {
        const count = Math.min(PIECE, groups - done);
        const values = Float32Array.from(
          { length: count },
          () => upperHalf(scale(random)) * factor,
        );
        yield new Uint8Array(
          Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16).buffer,
        );
      }
    },
  });
  return [
    {
      name: `${stem}.weight`,
      type: "U32",
      shape: shape.with(-1, columns * bits / 32),
      *data() {
        const random = new RandomSource(seed, name);
        const words = rows * columns * bits / 32;
        for (let done = 0; done < words; done += PIECE) {
          const count = Math.min(PIECE, words - done);
          yield new Uint8Array(Uint32Array.from({ length: count }, () => random.uint32()).buffer);
        }
      },
    },
    halves("scales", 1),
    halves("biases", -steps / 2),
  ];
}

/** Returns a number rounded to bfloat16, towards 0. */
function upperHalf(value: number): number {
  const word = new Uint32Array(Float32Array.of(value).buffer);
  word[0]! &= 0xffff0000;
  return new Float32Array(word.buffer)[0]!;
}
