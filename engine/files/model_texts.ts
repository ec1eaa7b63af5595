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
/** A tokenizer_config.json has the most: 7 keys for each of some 1,000 added tokens. */
const CONFIG_LIMITS = { keys: 2 ** 16, values: 2 ** 16 };
/** The files of the largest published vocabularies, with 256,000 tokens, have 34 MB. */
const MAX_TOKENIZER_BYTES = 64 * 2 ** 20;
/** Gemma 3 has the most: 262,144 tokens, 514,906 merges (pairs), 6,415 added tokens with 7 keys. */
const TOKENIZER_LIMITS = { keys: 400_000, values: 2_500_000 };
const MAX_NAME = 256;

export const CONFIG = "config.json";
export const TOKENIZER = "tokenizer.json";
const GENERATION_CONFIG = "generation_config.json";
const TOKENIZER_CONFIG = "tokenizer_config.json";
const CHAT_TEMPLATE = "chat_template.jinja";

/** The texts in a model's directory. Only their form is checked: the configs are JSON objects. */
export interface ModelTexts {
  readonly directory: string;
  readonly config: JsonObject;
  /** Empty if there is no generation_config.json. */
  readonly generationConfig: JsonObject;
  /** Empty if there is no tokenizer_config.json. */
  readonly tokenizerConfig: JsonObject;
  /** Jinja text from chat_template.jinja or, if there is no such file, tokenizer_config.json. */
  readonly chatTemplate: string | undefined;
  /**
   * Parses tokenizer.json, which takes a while if the vocabulary is large.
   *
   * @throws {ModelNotFoundError} if there is no tokenizer.json.
   * @throws {ModelFormatError} if it is damaged.
   */
  readTokenizer(): JsonObject;
}

/**
 * Reads the texts in `directory`. Only config.json is required.
 *
 * @throws {ModelNotFoundError} if config.json is missing.
 * @throws {ModelFormatError} if a file is too large or a config is not a JSON object.
 */
export function readModelTexts(directory: string): ModelTexts {
  const optional = (name: string): JsonObject => {
    const path = join(directory, name);
    return exists(path) ? readJson(path, MAX_CONFIG_BYTES, CONFIG_LIMITS) : {};
  };
  const tokenizerConfig = optional(TOKENIZER_CONFIG);
  const tokenizer = join(directory, TOKENIZER);
  // Read the file now, because the program may give up its permission later.
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

/** Returns the texts as a model file's metadata. */
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

/** Returns the directory's name, or the repository's if the directory is in the hub's cache. */
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
  // A list of named templates, as in some models with templates for tools and retrieval.
  const named = (template as readonly JsonValue[]).find((item) =>
    isObject(item) && item["name"] === "default"
  );
  const text = isObject(named) ? named["template"] : undefined;
  return typeof text === "string" ? text : undefined;
}

/**
 * Yields an object's scalars, and lists of scalars, with dotted keys. Null values are left out. So
 * are names longer than any that is ever read, because a huge key would be repeated in the names of
 * all its members. Keys with a dot are also left out, because they would look like keys of nested
 * objects.
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
  // Excludes null, and lists with objects.
  return Array.isArray(value) ? value.every(isMetadata) : typeof value !== "object";
}
