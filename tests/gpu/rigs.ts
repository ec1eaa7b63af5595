/** This machine's adapter, and the tunings that the kernel tests run on it. */

import { type Gpu, openGpu } from "../../engine/gpu/device.ts";
import { Rig } from "../../engine/run/self_test/rig.ts";
import { tuningFor } from "../../kernels/tuning.ts";

export interface Rigs {
  readonly gpu: Gpu;
  readonly software: Rig;
  /** By the tuning's name: both, whichever class this adapter is of. */
  readonly all: Readonly<Record<string, Rig>>;
}

/**
 * TVLLM_TEST_TUNINGS=software leaves out hardware's, and products of many tokens: some drivers
 * compile them for minutes.
 */
export async function openRigs(): Promise<Rigs> {
  const gpu = await openGpu();
  // drivers_test.ts looks for this line.
  console.log(`Adapter: ${gpu.description}, subgroups of ${gpu.subgroupSize}`);
  const both = Deno.env.get("TVLLM_TEST_TUNINGS") !== "software";
  const few = { matmulTokens: 2 };
  const software = await Rig.create(gpu, { ...tuningFor("software"), ...(!both && few) });
  // A software driver compiles kernels of 256 invocations for 5–12 s at eight tokens, for one at two.
  const hardware = software.with({ ...tuningFor("hardware"), ...few });
  return { gpu, software, all: { software, ...(both && { hardware }) } };
}
