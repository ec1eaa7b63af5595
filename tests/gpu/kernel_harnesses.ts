/** This machine's adapter, and the tunings that the kernel tests run on it. */

import { type Gpu, openGpu } from "../../engine/gpu/device.ts";
import { KernelHarness } from "../../engine/gpu/self_test/kernel_harness.ts";
import { tuningFor } from "../../kernels/tuning.ts";

export interface KernelHarnesses {
  readonly gpu: Gpu;
  readonly software: KernelHarness;
  /** By the tuning's name: both, unless hardware's is left out, whatever this adapter's class. */
  readonly all: Readonly<Record<string, KernelHarness>>;
}

/**
 * TVLLM_TEST_TUNINGS=software leaves out the hardware tuning, and products of many tokens, which
 * some drivers take minutes to compile.
 */
export async function openHarnesses(): Promise<KernelHarnesses> {
  const gpu = await openGpu();
  // drivers_test.ts looks for this line.
  console.log(`Adapter: ${gpu.description}, subgroups of ${gpu.subgroupSize}`);
  const both = Deno.env.get("TVLLM_TEST_TUNINGS") !== "software";
  const tuning = tuningFor("software");
  const software = await KernelHarness.create(gpu, both ? tuning : { ...tuning, matmulTokens: 2 });
  const hardware = software.with(tuningFor("hardware"));
  return { gpu, software, all: { software, ...(both && { hardware }) } };
}
