/** What the processor is called. */

import { cpus } from "node:os";

/** The processor's name, where the program may read it, or its architecture. */
export function processorName(): string {
  const permission = Deno.permissions.querySync({ name: "sys", kind: "cpus" });
  const model = permission.state === "granted" ? cpus()[0]?.model.trim() : undefined;
  return model || `${Deno.build.arch} processor`;
}
