/**
 * Compiles kernels on the adapter selected by the environment: `isa/radv_offline.sh CHIP deno run
 * isa/compile.ts [NAME…]`. It prints a line with the name before each kernel, and a last line at
 * the end, so that the driver's output for the kernel is in between.
 */

import { openGpu } from "../engine/gpu/device.ts";
import { Pipelines } from "../engine/gpu/pipelines.ts";
import { MARK } from "./statistics.ts";
import { variants } from "./variants.ts";

const gpu = await openGpu();
const pipelines = new Pipelines(gpu, 4096);
const names = new Set(Deno.args);
for (const { name, spec } of variants({ ...gpu, packedDots: true })) {
  if (names.size > 0 && !names.has(name)) continue;
  console.error(`${MARK}${name}`);
  pipelines.get(spec).compiled();
}
console.error(`${MARK}end`);
await gpu.device.queue.onSubmittedWorkDone();
if (gpu.failure) throw gpu.failure;
Deno.exit(0);
