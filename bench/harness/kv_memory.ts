/** Bytes of the KV cache of the model that is measured, from its kinds of layers. */

import { kvBlockBytes, kvBytesHeld, kvBytesPerToken } from "../../engine/model/costs.ts";
import { KV_BYTES } from "../../kernels/sizes.ts";
import type { Environment } from "../report/report.ts";
import { plural } from "../../engine/plural.ts";

/** What keys and values take. */
export interface KvMemory {
  /** That a token adds. */
  readonly perToken: number;
  /** How that comes about. */
  readonly calculation: string;
  /** Of a sequence of so many tokens, in whole blocks. */
  held(tokens: number): number;
  /** Of so many blocks of each group of layers. */
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
