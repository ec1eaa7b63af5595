/** Why Deno throws NotCapable for a path. */

/** Returns the end of an error message if Deno may not write to `path`, and undefined otherwise. */
export function writeRefusal(error: unknown, path: string): string | undefined {
  return error instanceof Deno.errors.NotCapable && !isGranted("write", path)
    ? "Deno has no permission to write it; add --allow-write"
    : undefined;
}

/**
 * Returns whether Deno was granted this access to `path`. Even then it refuses devices and most
 * files in /proc and /sys, unless it was granted everything (`--allow-all`).
 */
export function isGranted(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}
