/**
 * Drops the permissions that a command does not need: a compiled program starts with those of all commands,
 * and the bundle with whatever its user grants.
 */

import { grantsOf, parsePermissions, unionOf } from "./permissions.mjs";
import table from "./permissions.txt" with { type: "text" };

const ROWS = parsePermissions(table);

/**
 * Drops, for good, every permission that permissions.txt does not grant to `command`.
 *
 * @param values of its arguments and `-m`: a model of the hub is downloaded to the cache, one of
 * random weights is made there
 * @param options that were given, as in `--against`
 */
export function dropPermissions(
  command: string,
  values: readonly unknown[] = [],
  options: readonly string[] = [],
): void {
  const texts = values.filter((value) => typeof value === "string");
  const grants = grantsOf(
    ROWS,
    command,
    (word) => options.includes(word) || texts.some((text) => text.startsWith(word)),
  );
  for (const name of ["ffi", "sys"] as const) Deno.permissions.revokeSync({ name });
  if (!grants.run) dropRun();
  if (!grants.net) Deno.permissions.revokeSync({ name: "net" });
  if (grants.write.length === 0) Deno.permissions.revokeSync({ name: "write" });
  for (const variable of unionOf(ROWS).variables) {
    if (grants.variables.includes(variable)) continue;
    Deno.permissions.revokeSync({ name: "env", variable });
  }
}

/** Drops, for good, the permission to start programs. */
export function dropRun(): void {
  Deno.permissions.revokeSync({ name: "run" });
}

/** Drops, for good, write access; files that are open can still be written. */
export function dropWrite(): void {
  Deno.permissions.revokeSync({ name: "write" });
}

/**
 * Drops, for good, network and write access. To be called before a model's file is opened, which may be
 * malicious; files that are open can still be written.
 */
export function dropBeforeModel(): void {
  for (const name of ["net", "write"] as const) Deno.permissions.revokeSync({ name });
}
