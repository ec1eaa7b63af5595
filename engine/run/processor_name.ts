/** The processor's name. */

import { cpus } from "node:os";

/** Returns the processor's name, or its architecture if the program may not read the name. */
export function processorName(): string {
  const permission = Deno.permissions.querySync({ name: "sys", kind: "cpus" });
  const model = permission.state === "granted" ? cpus()[0]?.model.trim() : undefined;
  return model || `${Deno.build.arch} processor`;
}
