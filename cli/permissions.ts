/**
 * Gives back what a command was granted beyond its row of permissions.txt: the compiled program has
 * the permissions of all commands, the bundle those that its user thought of.
 */

import { grantsOf, parsePermissions, unionOf } from "./permissions.mjs";
import table from "./permissions.txt" with { type: "text" };

const ROWS = parsePermissions(table);

/**
 * Gives back for good what `command` does not need.
 *
 * @param values of its arguments and `-m`: a model of the hub is downloaded to the cache, one of
 * random weights is made there
 */
export function dropPermissions(command: string, values: readonly unknown[] = []): void {
  const texts = values.filter((value) => typeof value === "string");
  const grants = grantsOf(
    ROWS,
    command,
    (prefix) => texts.some((text) => text.startsWith(prefix)),
  );
  for (const name of ["run", "ffi", "sys"] as const) Deno.permissions.revokeSync({ name });
  if (!grants.net) Deno.permissions.revokeSync({ name: "net" });
  if (grants.write === "none") Deno.permissions.revokeSync({ name: "write" });
  for (const variable of unionOf(ROWS).variables) {
    if (grants.variables.includes(variable)) continue;
    Deno.permissions.revokeSync({ name: "env", variable });
  }
}

/**
 * Gives back for good the network and the right to write, before a model's file is opened, which is not
 * to be trusted. Files that are open stay so.
 */
export function dropBeforeModel(): void {
  for (const name of ["net", "write"] as const) Deno.permissions.revokeSync({ name });
}
