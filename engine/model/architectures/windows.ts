/** Reads attention windows from config.json, for models whose layers differ in nothing else. */

import { MAX_CONTEXT, MAX_LAYERS } from "../config_bounds.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";

/** Names in `layer_types` of layers with a window, and of those without. */
export const LAYER_KINDS = ["sliding_attention", "full_attention"] as const;

/**
 * Returns `sliding_window` as the window of all layers, or of those that `layer_types` lists as
 * sliding.
 *
 * @param fallback the window if the key is missing; null in the file means no window
 */
export function hfWindows(
  json: MetadataReader,
  fallback?: number,
): Pick<Hyperparameters, "windows"> {
  const stated = json.states("sliding_window");
  const tokens = json.has("sliding_window")
    ? json.integer("sliding_window", [0, MAX_CONTEXT])
    : stated
    ? undefined
    : fallback;
  const layers = json.integer("num_hidden_layers", [1, MAX_LAYERS]);
  const kinds = json.has("layer_types") ? json.texts("layer_types") : undefined;
  const other = kinds?.find((kind) => !(LAYER_KINDS as readonly string[]).includes(kind));
  if (other !== undefined || (kinds !== undefined && kinds.length !== layers)) {
    throw json.fault(
      `layer_types must list ${layers} layers, each as ${LAYER_KINDS.join(" or ")}; ` +
        `download the model again`,
    );
  }
  // A window as long as the context hides nothing.
  const context = json.integer("max_position_embeddings", [1, MAX_CONTEXT]);
  const own = tokens && tokens < context ? tokens : undefined;
  if (own === undefined && kinds === undefined) return {};
  return {
    windows: Array.from(
      { length: layers },
      (_, i) => kinds?.[i] === "full_attention" ? undefined : own,
    ),
  };
}
