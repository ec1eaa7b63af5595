/** Finds the models among the files of a repository, and selects the requested one. */

import { basename } from "node:path";
import { quote } from "../files/quote.ts";

/** The files of one model in a repository, GGUF or safetensors. */
export interface RepositoryModel {
  readonly format: "gguf" | "safetensors";
  /** The quantization in the file's name, as spelled there. */
  readonly quant: string | undefined;
  /** Paths in the repository, in order; all parts of a split model. */
  readonly files: readonly string[];
  /** Whether all parts of a split model are present. */
  readonly complete: boolean;
}

/** Maximum length of a path. File systems do not allow longer names, even with some folders. */
const MAX_NAME = 1024;
/** Maximum number of models that an error message lists. */
const MOST_NAMED = 8;

/**
 * Quantizations to prefer if none is named: first a small and good one, then a nearly exact one.
 */
const DEFAULT_QUANTS = ["Q4_K_M", "Q8_0"];

const PART = /^(.*)-(\d{5})-of-(\d{5})(\.gguf|\.safetensors)$/;
/**
 * The last match in a path is its quantization. `_` does not end a match, as quantizations contain
 * `_`.
 */
const QUANT = /(?:^|[-._/])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|MXFP4\w*|BF16|FP?16|FP?32))(?=[-./]|$)/gi;
/** GGUF files that accompany a text model but are not one. */
const NO_MODEL = /^(mmproj|imatrix)|[-._](mmproj|imatrix)\b/i;
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors$/;
/**
 * The names that MLX used at first. They do not contain the number of files, so the first file is
 * downloaded last: it proves that the others are there.
 */
const OLD_WEIGHTS = /^weights(\.\d{2,})?\.safetensors$/;
const FIRST_OLD = /^weights(\.00)?\.safetensors$/;
/** Files that accompany safetensors. Code is never downloaded. */
const COMPANIONS: ReadonlySet<string> = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "chat_template.json",
  "model.safetensors.index.json",
]);

/**
 * Returns the models among the files of a repository: each GGUF file or split GGUF, and all
 * safetensors as one.
 */
export function modelsAmong(given: readonly string[]): RepositoryModel[] {
  // The time of the regular expressions below grows with the square of a path's length.
  const paths = given.filter((path) => path.length <= MAX_NAME);
  const groups = new Map<string, string[]>();
  for (const path of paths.toSorted()) {
    if (!path.endsWith(".gguf") || NO_MODEL.test(basename(path))) continue;
    const part = PART.exec(path);
    const key = part === null ? path : `${part[1]}-of-${part[3]}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [path]);
    else group.push(path);
  }
  const models = [...groups.values()].map((files): RepositoryModel => ({
    format: "gguf",
    quant: quantOf(files[0]!),
    files,
    complete: isComplete(files),
  }));
  const weights = paths.filter((path) => WEIGHTS.test(path)).toSorted();
  const shards = weights.filter((path) => PART.test(path));
  const old = paths.filter((path) => OLD_WEIGHTS.test(path)).toSorted().reverse();
  const files = [shards, weights, old].find((found) => found.length > 0);
  if (files !== undefined && paths.includes("config.json")) {
    models.push({
      format: "safetensors",
      quant: undefined,
      files: [...paths.filter((path) => COMPANIONS.has(path)).toSorted(), ...files],
      complete: files === old ? FIRST_OLD.test(old.at(-1)!) : isComplete(files),
    });
  }
  return models;
}

/**
 * Returns the models that `quant` selects, ignoring case: by file name or else by quantization.
 * Without `quant`, returns the models with the first default quantization that exists, else all
 * GGUF models, else all models. If the result is not exactly one model, the user must choose.
 */
export function matchingModels(
  models: readonly RepositoryModel[],
  quant: string | undefined,
): RepositoryModel[] {
  const gguf = models.filter((model) => model.format === "gguf");
  if (quant === undefined) {
    for (const name of DEFAULT_QUANTS) {
      const matches = gguf.filter((model) => isSameQuant(model.quant, name));
      if (matches.length > 0) return matches;
    }
    return gguf.length > 0 ? gguf : [...models];
  }
  const named = gguf.filter((model) => model.files.some((path) => isSameQuant(path, quant)));
  if (named.length > 0) return named;
  const matches = gguf.filter((model) => isSameQuant(model.quant, quant));
  return matches.length > 0
    ? matches
    : gguf.filter((model) => isSameQuant(model.quant, `UD-${quant}`));
}

/**
 * Returns the text after the colon of a spec that selects `model` among `models`; undefined if no
 * colon is needed.
 */
export function quantToName(
  model: RepositoryModel,
  models: readonly RepositoryModel[],
): string | undefined {
  if (model.format === "safetensors") return undefined;
  const { quant } = model;
  const unique = quant !== undefined && matchingModels(models, quant).length === 1;
  return unique ? quant.toUpperCase() : model.files[0]!;
}

/**
 * Returns a list, for a message, of the texts after the colon that select each of `chosen` among
 * `models`.
 */
export function listQuants(
  chosen: readonly RepositoryModel[],
  models: readonly RepositoryModel[],
): string {
  const named = chosen.slice(0, MOST_NAMED);
  const names = named.map((model) => quote(quantToName(model, models) ?? "safetensors"));
  if (chosen.length > named.length) names.push(`and ${chosen.length - named.length} more`);
  return names.join(", ");
}

function quantOf(path: string): string | undefined {
  const stem = path.replace(PART, "$1").replace(/\.gguf$/, "");
  return [...stem.matchAll(QUANT)].at(-1)?.[1];
}

function isComplete(files: readonly string[]): boolean {
  const count = Number(PART.exec(files[0]!)?.[3] ?? 1);
  return files.length === count &&
    files.every((path, i) => count === 1 || Number(PART.exec(path)?.[2]) === i + 1);
}

function isSameQuant(a: string | undefined, b: string): boolean {
  return a !== undefined && canonical(a) === canonical(b);
}

function canonical(quant: string): string {
  return quant.toUpperCase().replace(/^FP(16|32)$/, "F$1");
}
