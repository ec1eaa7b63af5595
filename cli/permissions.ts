/** What each command may do where the launcher did not see to it: in the bundle and the binary. */

import { isHubSpec } from "../engine/hub/spec.ts";
import { isSyntheticSpec } from "./synthetic_cache.ts";

/** As in the launcher's table. */
const NETWORK: readonly string[] = ["pull"];
const WRITES: readonly string[] = ["pull", "rm", "bench", "synth", "tune"];

/**
 * Gives back for good what `command` does not need; a model's file is not to be trusted.
 *
 * @param values of its arguments and `-m`: a model of the hub is downloaded to the cache, one of
 * random weights is made there
 */
export function dropPermissions(command: string, values: readonly unknown[] = []): void {
  const texts = values.filter((value) => typeof value === "string");
  const downloads = command !== "rm" && texts.some(isHubSpec);
  const makes = texts.some(isSyntheticSpec);
  for (const name of ["run", "ffi", "sys"] as const) Deno.permissions.revokeSync({ name });
  if (!downloads && !NETWORK.includes(command)) Deno.permissions.revokeSync({ name: "net" });
  if (!downloads && !makes && !WRITES.includes(command)) {
    Deno.permissions.revokeSync({ name: "write" });
  }
}
