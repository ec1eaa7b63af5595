/** `--backend`, and the variable that Deno itself reads for it. */

import { UsageError } from "./exit_codes.ts";

const VARIABLE = "DENO_WEBGPU_BACKEND";

/** The names that wgpu splits the variable into; it ignores others, and then finds no adapter. */
const KNOWN = ["vulkan", "vk", "metal", "mtl", "dx12", "d3d12", "opengl", "gles", "gl"];

/**
 * Has Deno look for adapters of this graphics API alone, or of those that the variable names. Must
 * come before the first adapter is asked for.
 *
 * @param backend the option's value, if the command has that option and it was given
 * @throws {UsageError} if the variable names one that Deno does not know.
 */
export function useBackend(backend: unknown): void {
  if (typeof backend === "string") return Deno.env.set(VARIABLE, backend);
  const names = Deno.env.get(VARIABLE)?.split(",").map((name) => name.trim().toLowerCase()) ?? [];
  const unknown = names.find((name) => !KNOWN.includes(name));
  if (unknown === undefined) return;
  throw new UsageError(
    `Cannot use the backend '${unknown}' from ${VARIABLE}: expected vulkan, metal, dx12 or gl`,
  );
}
