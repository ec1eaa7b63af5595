/** Checks whether tvllm supports a model, from the first bytes that the hub sends. */

import { ModelFormatError, UnsupportedError } from "./errors.ts";
import { openGgufBytes } from "./files/gguf.ts";
import { InputFile } from "./files/input_file.ts";
import { isObject, parseJsonObject } from "./files/json.ts";
import { printable, quote } from "./files/quote.ts";
import type { Beginning } from "./hub/pull.ts";
import { architecturesOfType } from "./model/architectures/mod.ts";
import { configFromGguf } from "./model/gguf_config.ts";
import { unknownModelType } from "./model/hf_config.ts";
import { modelTokenizer } from "./text/model_tokenizer.ts";

/**
 * Checks config.json, or the header of a GGUF file. Returns false if `beginning` is too short to
 * decide, or damaged: opening the model reports damage later.
 *
 * @throws {UnsupportedError} if tvllm does not support the model.
 */
export function checkDownload(beginning: Beginning): boolean {
  try {
    if (beginning.name.endsWith(".json")) checkConfig(beginning);
    else checkGguf(beginning);
    return true;
  } catch (error) {
    if (error instanceof UnsupportedError) throw error;
    if (error instanceof ModelFormatError) return false;
    throw error;
  }
}

function checkGguf({ name, bytes, size }: Beginning): void {
  const file = openGgufBytes(bytes, name, size);
  modelTokenizer(file);
  configFromGguf(file);
}

function checkConfig({ name, bytes }: Beginning): void {
  const source = { file: InputFile.ofBytes(bytes, name), what: "it", bytes };
  const config = parseJsonObject(source, { keys: 1e5, values: 1e5 });
  const { model_type: type, quantization_config: quantization } = config;
  const refuse = (what: string) =>
    new UnsupportedError(`Cannot run the model of ${printable(name)}: ${what}`);
  if (typeof type !== "string") throw refuse("it has no model_type; use another model");
  if (architecturesOfType(type).length === 0) throw refuse(unknownModelType(type));
  const method = isObject(quantization) ? quantization["quant_method"] : undefined;
  if (typeof method === "string") {
    throw refuse(
      `its weights are quantized with ${quote(method)}, which tvllm does not support; ` +
        "use a BF16, GGUF or MLX version",
    );
  }
}
