/** Reads sizes that a GGUF file may state per layer: heads, and the feed-forward width. */

import type { ModelConfig } from "./config.ts";
import { MAX_HEADS, MAX_LAYERS, MAX_WIDTH } from "./config_bounds.ts";
import type { MetadataReader } from "./metadata_reader.ts";

/**
 * Returns the config with the sizes of each layer, if the file states them as arrays. Files of
 * OpenELM and of pruned models do. Source: get_key_or_arr in llama.cpp's llama-model-loader.cpp.
 *
 * @param metadata reader of the keys below the architecture's prefix
 * @throws {ModelFormatError} if an array does not have one value per layer, or one is out of range.
 */
export function withLayerSizes(config: ModelConfig, metadata: MetadataReader): ModelConfig {
  // This includes layers that draft tokens, which the config does not have.
  const count = metadata.integer("block_count", [1, MAX_LAYERS]);
  const sizes = (key: string, most: number) =>
    metadata.perLayer(key, { range: [1, most], layers: count });
  const heads = sizes("attention.head_count", MAX_HEADS);
  const kvHeads = sizes("attention.head_count_kv", MAX_HEADS);
  const widths = sizes("feed_forward_length", MAX_WIDTH);
  if (heads === undefined && kvHeads === undefined && widths === undefined) return config;
  const layers = config.layers.map((layer, i) => {
    const { mixer, feedForward } = layer;
    const own = mixer && { ...mixer };
    if (own?.kind === "attention") {
      own.heads = heads?.[i] ?? own.heads;
      own.kvHeads = kvHeads?.[i] ?? own.kvHeads;
      if (own.heads % own.kvHeads !== 0) {
        throw metadata.fault(
          `layer ${i} has ${own.kvHeads} key-value heads, which do not divide its ${own.heads} ` +
            "heads; the file is damaged or was converted incorrectly: download or convert it again",
        );
      }
    }
    const width = feedForward?.kind === "dense" ? widths?.[i] : undefined;
    return {
      ...layer,
      ...(own && { mixer: own }),
      ...(feedForward && width !== undefined && { feedForward: { ...feedForward, width } }),
    };
  });
  return { ...config, layers };
}
