/** `--backend`, and the environment variable from which Deno itself reads the backend. */

import { UsageError } from "./exit_codes.ts";

const VARIABLE = "DENO_WEBGPU_BACKEND";

/**
 * The names that wgpu accepts in the variable. It ignores other names and then finds no adapter.
 */
const KNOWN = ["vulkan", "vk", "metal", "mtl", "dx12", "d3d12", "opengl", "gles", "gl"];

/**
 * Restricts Deno to adapters of this graphics API. Without `backend`, checks the variable, by which
 * the user may have restricted it. Call this before the first adapter is requested.
 *
 * @param backend the option's value, if the command has that option and it was given
 * @throws {UsageError} if the variable names a backend that Deno does not know.
 */
export function useBackend(backend: unknown): void {
  if (typeof backend === "string") return Deno.env.set(VARIABLE, backend);
  const value = Deno.env.get(VARIABLE);
  // An empty variable counts as unset, but wgpu would find no adapter.
  if (value === "") return Deno.env.delete(VARIABLE);
  const names = value?.split(",").map((name) => name.trim().toLowerCase()) ?? [];
  const unknown = names.find((name) => !KNOWN.includes(name));
  if (unknown === undefined) return;
  throw new UsageError(
    `Cannot use the backend '${unknown}' from ${VARIABLE}: expected vulkan, metal, dx12 or gl`,
  );
}
