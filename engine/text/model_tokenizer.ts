/** Creates the tokenizer of an open model, in either format. */

import { join } from "node:path";
import { ModelFormatError } from "../errors.ts";
import { isObject } from "../files/json.ts";
import type { ModelFile } from "../files/model_file.ts";
import { TOKENIZER } from "../files/model_texts.ts";
import { printable, quote } from "../files/quote.ts";
import { isSafetensors, type SafetensorsModel } from "../files/safetensors.ts";
import { loadTokenizer, type Tokenizer, tokenizerFromJson } from "./tokenizer.ts";

/**
 * Returns the tokenizer that GGUF metadata, or tokenizer.json and related files, describe.
 *
 * @throws {ModelNotFoundError} if a directory has no tokenizer.json.
 * @throws {ModelFormatError | UnsupportedError} as `loadTokenizer` and `tokenizerFromJson` do.
 */
export function modelTokenizer(file: ModelFile): Tokenizer {
  if (!isSafetensors(file)) return loadTokenizer(file.metadata, file.paths[0]!);
  const files = { json: file.readTokenizer(), config: file.tokenizerConfig, endIds: endIds(file) };
  return tokenizerFromJson(files, printable(join(file.directory, TOKENIZER)));
}

/**
 * Returns `eos_token_id`, which is a number or a list. generation_config.json takes precedence over
 * config.json, which may have the key within `text_config` only.
 */
function endIds(file: SafetensorsModel): readonly number[] {
  const { config, generationConfig } = file;
  const text = config["text_config"];
  const stated = [generationConfig, config, ...isObject(text) ? [text] : []]
    .map((json) => json["eos_token_id"] ?? undefined)
    .find((ids) => ids !== undefined) ?? [];
  const ids = Array.isArray(stated) ? stated : [stated];
  const invalid = ids.find((id) => !Number.isInteger(id));
  if (invalid !== undefined) {
    throw new ModelFormatError(
      `Cannot read the end tokens of ${printable(file.directory)}: eos_token_id contains ` +
        `${quote(JSON.stringify(invalid))}, which is not a whole number; download the model again`,
    );
  }
  return ids;
}
