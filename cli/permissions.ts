/** What each command may do where the launcher did not see to it: in the bundle and the binary. */

/** As in the launcher's table. */
const NETWORK: readonly string[] = ["pull"];
const WRITES: readonly string[] = ["pull", "rm", "bench", "synth", "tune"];

/** Gives back for good what `command` does not need; a model's file is not to be trusted. */
export function dropPermissions(command: string): void {
  for (const name of ["run", "ffi", "sys"] as const) Deno.permissions.revokeSync({ name });
  if (!NETWORK.includes(command)) Deno.permissions.revokeSync({ name: "net" });
  if (!WRITES.includes(command)) Deno.permissions.revokeSync({ name: "write" });
}
