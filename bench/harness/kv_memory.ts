/** Computes the bytes of the KV cache from the kinds of the model's layers. */

import { kvBlockBytes, kvBytesHeld, kvBytesPerToken } from "../../engine/model/costs.ts";
import { KV_BYTES } from "../../kernels/sizes.ts";
import type { Environment } from "../report/report.ts";
import { plural } from "../../engine/plural.ts";

/** Sizes of keys and values in bytes. */
export interface KvMemory {
  /** Bytes that a token adds. */
  readonly perToken: number;
  /** The calculation of `perToken`, as text. */
  readonly calculation: string;
  /** Bytes of a sequence with this many tokens, in whole blocks. */
  held(tokens: number): number;
  /** Bytes of these numbers of blocks, one for each group of layers. */
  ofBlocks(blocks: readonly number[]): number;
}

export function kvMemory({ model: { layerKinds }, engine }: Environment): KvMemory {
  const element = KV_BYTES[engine.kvType];
  const sizes = kvBlockBytes(layerKinds, element);
  return {
    perToken: kvBytesPerToken(layerKinds, element),
    calculation: layerKinds.map(({ layers, kvHeads, headDim }) =>
      `2 × ${layers} ${plural(layers, "layer")} × ${kvHeads} ${
        plural(kvHeads, "KV head")
      } × ${headDim} × ${element} bytes`
    ).join(" + "),
    held: (tokens) => kvBytesHeld(layerKinds, tokens, element),
    ofBlocks: (blocks) => sizes.reduce((sum, size, group) => sum + size * blocks[group]!, 0),
  };
}
