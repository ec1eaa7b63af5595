/**
 * Drops the permissions that a command does not need. A compiled program starts with the
 * permissions of all commands, and the bundle with those that its user grants.
 */

import { grantsOf, parsePermissions, unionOf } from "./permissions.mjs";
import table from "./permissions.txt" with { type: "text" };

const ROWS = parsePermissions(table);

/**
 * Drops, for good, every permission that permissions.txt does not grant to `command`.
 *
 * @param values models and endpoints on the command line. A model of the hub is downloaded to the
 * cache, and one with random weights is created there, so they need further permissions.
 * @param options the options that were given, such as `--against`
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

/** Drops, for good, write access. Open files can still be written. */
export function dropWrite(): void {
  Deno.permissions.revokeSync({ name: "write" });
}

/**
 * Drops, for good, network and write access. Call this before a model's file is opened, because it
 * may be malicious. Open files can still be written.
 */
export function dropBeforeModel(): void {
  for (const name of ["net", "write"] as const) Deno.permissions.revokeSync({ name });
}
