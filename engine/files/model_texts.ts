/** The texts beside the weights of a Hugging Face model: configs, tokenizer, chat template. */

import { basename, dirname, join, resolve } from "node:path";
import { exists } from "./input_file.ts";
import {
  isObject,
  type JsonObject,
  type JsonValue,
  parseJsonObject,
  readAll,
  readJson,
} from "./json.ts";
import type { MetadataValue } from "./model_file.ts";

const MAX_CONFIG_BYTES = 2 ** 20;
/** Most are in a tokenizer_config.json: 7 keys for each of some 1,000 added tokens. */
const CONFIG_LIMITS = { keys: 2 ** 16, values: 2 ** 16 };
/** The largest published vocabularies, of 256,000 tokens, take 34 MB. */
const MAX_TOKENIZER_BYTES = 64 * 2 ** 20;
/** Gemma 3 has most: 262,144 tokens, 514,906 merges that are pairs, 6,415 added tokens of 7 keys. */
const TOKENIZER_LIMITS = { keys: 400_000, values: 2_500_000 };
const MAX_NAME = 256;

export const CONFIG = "config.json";
export const TOKENIZER = "tokenizer.json";
const GENERATION_CONFIG = "generation_config.json";
const TOKENIZER_CONFIG = "tokenizer_config.json";
const CHAT_TEMPLATE = "chat_template.jinja";

/** What a directory says of its model; unchecked but for its being JSON objects. */
export interface ModelTexts {
  readonly directory: string;
  readonly config: JsonObject;
  /** Empty where there is no generation_config.json, or no tokenizer_config.json. */
  readonly generationConfig: JsonObject;
  readonly tokenizerConfig: JsonObject;
  /** Jinja text: chat_template.jinja, else what tokenizer_config.json has. */
  readonly chatTemplate: string | undefined;
  /**
   * Parses tokenizer.json, which takes a while where the vocabulary is large.
   *
   * @throws {ModelNotFoundError} if there is none.
   * @throws {ModelFormatError} if it is damaged.
   */
  readTokenizer(): JsonObject;
}

/**
 * Reads the texts in `directory`, of which config.json alone must be there.
 *
 * @throws {ModelNotFoundError} if it is not.
 * @throws {ModelFormatError} if one is too large or no JSON object.
 */
export function readModelTexts(directory: string): ModelTexts {
  const optional = (name: string): JsonObject => {
    const path = join(directory, name);
    return exists(path) ? readJson(path, MAX_CONFIG_BYTES, CONFIG_LIMITS) : {};
  };
  const tokenizerConfig = optional(TOKENIZER_CONFIG);
  const tokenizer = join(directory, TOKENIZER);
  // Read now: later the program may have given up its permission.
  const read = exists(tokenizer) ? readAll(tokenizer, MAX_TOKENIZER_BYTES) : undefined;
  return {
    directory,
    config: readJson(join(directory, CONFIG), MAX_CONFIG_BYTES, CONFIG_LIMITS),
    generationConfig: optional(GENERATION_CONFIG),
    tokenizerConfig,
    chatTemplate: readChatTemplate(join(directory, CHAT_TEMPLATE), tokenizerConfig),
    readTokenizer: () => {
      return parseJsonObject(read ?? readAll(tokenizer, MAX_TOKENIZER_BYTES), TOKENIZER_LIMITS);
    },
  };
}

/** The texts as a model file's metadata. */
export function textMetadata(texts: ModelTexts): Map<string, MetadataValue> {
  const { config, chatTemplate } = texts;
  const architecture = Object.entries(config).find(([key]) => key === "model_type")?.[1];
  return new Map<string, MetadataValue>([
    ["general.name", nameOf(texts.directory)],
    ...(typeof architecture === "string" ? [["general.architecture", architecture] as const] : []),
    ...flatten(config),
    ...(chatTemplate === undefined ? [] : [["tokenizer.chat_template", chatTemplate] as const]),
  ]);
}

/** The directory's name; in the hub's cache that of the repository. */
function nameOf(directory: string): string {
  const path = resolve(directory);
  if (basename(dirname(path)) !== "snapshots") return basename(path);
  return basename(dirname(dirname(path))).replace(/^models--/, "").replaceAll("--", "/");
}

function readChatTemplate(path: string, tokenizerConfig: JsonObject): string | undefined {
  if (exists(path)) {
    const { bytes } = readAll(path, MAX_CONFIG_BYTES);
    return new TextDecoder().decode(bytes);
  }
  const { chat_template: template } = tokenizerConfig;
  if (typeof template === "string") return template;
  if (!Array.isArray(template)) return undefined;
  // Several by name, as some models for tools and retrieval have.
  const named = (template as readonly JsonValue[]).find((item) =>
    isObject(item) && item["name"] === "default"
  );
  const text = isObject(named) ? named["template"] : undefined;
  return typeof text === "string" ? text : undefined;
}

/**
 * An object's scalars and lists of them by dotted keys; null stands for nothing. Names that are too
 * long for any that is read are left out: those in an object with a huge one would each be as long.
 * So are names with a dot, which would pass for keys of an object.
 */
function* flatten(object: JsonObject, prefix = ""): Generator<[string, MetadataValue]> {
  for (const [key, value] of Object.entries(object)) {
    const name = prefix + key;
    if (name.length > MAX_NAME || key.includes(".")) continue;
    if (isObject(value)) yield* flatten(value, `${name}.`);
    else if (isMetadata(value)) yield [name, value];
  }
}

function isMetadata(value: JsonValue): value is JsonValue & MetadataValue {
  return Array.isArray(value) ? value.every(isMetadata) : typeof value !== "object"; // null, and objects within lists
}
