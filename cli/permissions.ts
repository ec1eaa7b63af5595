/** What each command may do where the launcher did not see to it: in the bundle and the binary. */

import { isSyntheticSpec } from "./synthetic_cache.ts";

/** As in the launcher's table. */
const NETWORK: readonly string[] = ["pull"];
const WRITES: readonly string[] = ["pull", "rm", "bench", "synth", "tune"];

/**
 * Gives back for good what `command` does not need; a model's file is not to be trusted.
 *
 * @param values of its arguments and `-m`: a model of random weights is made in the cache
 */
export function dropPermissions(command: string, values: readonly unknown[] = []): void {
  const makes = values.some((value) => typeof value === "string" && isSyntheticSpec(value));
  for (const name of ["run", "ffi", "sys"] as const) Deno.permissions.revokeSync({ name });
  if (!NETWORK.includes(command)) Deno.permissions.revokeSync({ name: "net" });
  if (!makes && !WRITES.includes(command)) Deno.permissions.revokeSync({ name: "write" });
}
