/** Parses and formats `hf:org/repo[:QUANT][@rev]`, the name of a model on the hub. */

import { RequestError } from "../errors.ts";
import { quote } from "../files/quote.ts";

/** A parsed spec. */
export interface HubSpec {
  /** `org/repo`. */
  readonly repository: string;
  /** A quantization as spelled in file names, or the path of a GGUF file in the repository. */
  readonly quant?: string;
  /** A branch, tag or commit. */
  readonly revision?: string;
}

/** The revision of a spec that does not name one. */
export const DEFAULT_REVISION = "main";

const PREFIX = /^(hf:|hf\.co\/)/;
const SPEC = /^([^/:@]+\/[^/:@]+)(?::([^:@]+))?(?:@(.+))?$/;
/** `--` is excluded because it represents the slash in the cache's folder names. */
const NAME = /^(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$/;

/** Whether `text` has the prefix of a hub spec; the rest may be invalid. */
export function isHubSpec(text: string): boolean {
  return PREFIX.test(text);
}

/**
 * Parses `hf:org/repo[:QUANT][@rev]` or `hf.co/org/repo[:QUANT][@rev]`.
 *
 * @throws {RequestError} if `text` is not a valid spec.
 */
export function parseHubSpec(text: string): HubSpec {
  const match = PREFIX.test(text) ? SPEC.exec(text.replace(PREFIX, "")) : null;
  const [, repository = "", quant, revision] = match ?? [];
  const valid = repository !== "" && repository.split("/").every((name) => NAME.test(name)) &&
    (quant === undefined || isSafePath(quant)) &&
    (revision === undefined || (/^[\w./-]{1,255}$/.test(revision) && isSafePath(revision)));
  if (!valid) {
    throw new RequestError(
      `Cannot understand the model ${quote(text)}: expected hf:ORG/REPO[:QUANT][@REVISION], ` +
        `as in hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M`,
    );
  }
  return {
    repository,
    ...(quant !== undefined && { quant }),
    ...(revision !== undefined && { revision }),
  };
}

/** Returns the text that parses to this spec. */
export function formatHubSpec({ repository, quant, revision }: HubSpec): string {
  return `hf:${repository}${quant === undefined ? "" : `:${quant}`}${
    revision === undefined ? "" : `@${revision}`
  }`;
}

/** Whether a path with slashes stays within its directory on every operating system. */
export function isSafePath(path: string): boolean {
  // deno-lint-ignore no-control-regex
  return !/[\\:\x00-\x1f]/.test(path) &&
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}
