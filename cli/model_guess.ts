/** Suggestions for model names that do not exist. */

import { basename, dirname, join } from "node:path";
import { RequestError } from "../engine/errors.ts";
import { printable, quote } from "../engine/files/quote.ts";
import { type HubSpec, isHubSpec, parseHubSpec } from "../engine/hub/spec.ts";
import { UsageError } from "./exit_codes.ts";
import { nearest } from "./suggestion.ts";

/** URL of a page or a file on the hub, as a browser shows it. */
const ADDRESS =
  /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/([^/?#]+\/[^/?#]+)(?:\/(?:blob|resolve|tree)\/([^/?#]+)(?:\/([^?#]+))?)?/;
const REPOSITORY = /^[\w.-]+\/[\w.-]+(?::[\w.-]+)?$/;

/**
 * Returns the `hf:` name of the model for a URL, or for a name without `hf:`; undefined otherwise.
 */
export function hubModelMeant(text: string): string | undefined {
  const [, repository, revision, file] = ADDRESS.exec(text) ?? [];
  const spec = repository === undefined
    ? REPOSITORY.test(text) ? `hf:${text}` : undefined
    : `hf:${repository}${file ? `:${file}` : ""}${
      revision === undefined || revision === "main" ? "" : `@${revision}`
    }`;
  try {
    return spec !== undefined && parseHubSpec(spec) ? spec : undefined;
  } catch {
    return undefined;
  }
}

/** Returns a suggestion, for an error message, for a path at which there is no file. */
export function modelMeant(path: string): string {
  const near = nearest(basename(path), modelFiles(dirname(path)));
  if (near !== undefined) {
    return `did you mean ${printable(path.includes("/") ? join(dirname(path), near) : near)}?`;
  }
  const hub = hubModelMeant(path);
  return hub === undefined
    ? "check the path; models on the hub are named hf:ORG/REPO"
    : `did you mean ${hub}?`;
}

/**
 * Parses like `parseHubSpec`, for a command that accepts only models of the hub.
 *
 * @throws {UsageError} with a suggestion, if `text` is a URL or lacks `hf:`.
 * @throws {RequestError} as `parseHubSpec` does, otherwise.
 */
export function parseHubArgument(text: string): HubSpec {
  try {
    return parseHubSpec(text);
  } catch (error) {
    const meant = isHubSpec(text) ? undefined : hubModelMeant(text);
    if (!(error instanceof RequestError) || meant === undefined) throw error;
    throw new UsageError(`Cannot understand the model ${quote(text)}: did you mean ${meant}?`, {
      cause: error,
    });
  }
}

function modelFiles(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => name)
      .filter((name) => name.endsWith(".gguf"));
  } catch {
    return [];
  }
}
