/** What a model's name that names nothing was probably meant to be. */

import { basename, dirname, join } from "node:path";
import { RequestError } from "../engine/errors.ts";
import { printable, quote } from "../engine/files/quote.ts";
import { type HubSpec, isHubSpec, parseHubSpec } from "../engine/hub/spec.ts";
import { UsageError } from "./exit_codes.ts";
import { nearest } from "./suggestion.ts";

/** A page or a file of the hub, as a browser shows its address. */
const ADDRESS =
  /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/([^/?#]+\/[^/?#]+)(?:\/(?:blob|resolve|tree)\/([^/?#]+)(?:\/([^?#]+))?)?/;
const REPOSITORY = /^[\w.-]+\/[\w.-]+(?::[\w.-]+)?$/;

/** The name of the hub's model that `text`, an address or a name without `hf:`, stands for. */
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

/** How to name the model that was meant by a path at which there is nothing. */
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
 * As `parseHubSpec`, for a command that takes nothing else.
 *
 * @throws {UsageError} that says what was meant, if it is clear.
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
