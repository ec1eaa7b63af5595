/** Adapts a model's config to the longest sequence that it is run with. */

import type { ModelConfig } from "./config.ts";
import type { RopeSpec } from "./rope.ts";

/**
 * Returns the config for sequences of at most `contextLength` tokens. LongRoPE has different
 * factors for contexts beyond the original one. They apply to the whole run, because keys in the
 * cache were rotated with them and cannot be rotated again.
 */
export function atContext(config: ModelConfig, contextLength: number): ModelConfig {
  // Layers that shared a table of angles share the new one too.
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
