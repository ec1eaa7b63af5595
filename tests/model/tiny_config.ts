/** Configs of tiny models with changes of their metadata or tensors. */

import { openGguf } from "../../engine/files/gguf.ts";
import type { GgufTensorData, GgufValue } from "../../engine/files/gguf_writer.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import {
  ggufBytes,
  type GgufParts,
  type TinyArchitecture,
  tinyParts,
} from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";

export type Change = (parts: GgufParts) => void;

/** Returns the config of a tiny model in Q8_0 after `change`. */
export function configOf(architecture: TinyArchitecture, change: Change = () => {}): ModelConfig {
  const parts = tinyParts(architecture, "Q8_0");
  change(parts);
  return withFile("tiny.gguf", ggufBytes(parts), (path) => {
    const file = openGguf(path);
    try {
      return configFromGguf(file);
    } finally {
      file.close();
    }
  });
}

export const uint = (value: number): GgufValue => ({ type: "uint32", value });
export const float = (value: number): GgufValue => ({ type: "float32", value });
export const text = (value: string): GgufValue => ({ type: "string", value });

/**
 * Returns a change of metadata. A key has the prefix "llama.", unless it has a colon in place of
 * its first dot. Null deletes a key.
 */
export function keys(values: Readonly<Record<string, GgufValue | null>>): Change {
  return ({ metadata }) => {
    for (const [key, value] of Object.entries(values)) {
      const name = key.includes(":") ? key.replace(":", ".") : `llama.${key}`;
      if (value === null) metadata.delete(name);
      else metadata.set(name, value);
    }
  };
}

export function without(name: string): Change {
  return ({ tensors }) => {
    tensors.splice(tensors.findIndex((tensor) => tensor.name === name), 1);
  };
}

export function zeros(
  name: string,
  shape: readonly number[],
  type: "F32" | "Q8_0",
): GgufTensorData {
  const count = shape.reduce((a, b) => a * b, 1);
  const bytes = type === "F32" ? 4 * count : count / 32 * 34;
  return { name, type, shape, data: () => [new Uint8Array(bytes)] };
}
