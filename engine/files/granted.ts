/** Why Deno throws NotCapable for a path. */

/**
 * Returns whether Deno was granted this access to `path`. Even then it refuses devices and most
 * files in /proc and /sys, unless it was granted everything (`--allow-all`).
 */
export function isGranted(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}
