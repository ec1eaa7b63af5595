/** A model as it is run: for sequences up to a length. */

import type { ModelConfig } from "./config.ts";
import type { RopeSpec } from "./rope.ts";

/**
 * The model for sequences of at most `contextLength` tokens. LongRoPE has other factors for contexts
 * beyond the original one; they hold for all of a run, as keys in the cache cannot change theirs.
 */
export function atContext(config: ModelConfig, contextLength: number): ModelConfig {
  // Layers that share a table of angles keep sharing it.
  const ropes = new Map<RopeSpec, RopeSpec>();
  const ropeOf = (rope: RopeSpec): RopeSpec => {
    const { scaling } = rope;
    if (scaling.kind !== "longrope") return rope;
    const own = ropes.get(rope) ?? { ...rope, scaling: { ...scaling, context: contextLength } };
    ropes.set(rope, own);
    return own;
  };
  return {
    ...config,
    contextLength,
    layers: config.layers.map((layer) => {
      const { mixer } = layer;
      if (mixer?.kind !== "attention") return layer;
      return { ...layer, mixer: { ...mixer, rope: ropeOf(mixer.rope) } };
    }),
  };
}
