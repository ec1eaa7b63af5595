/** Models whose layers have states, served on the GPU; see tests/serving/states_test.ts. */

import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { checkAnswers, STATEFUL } from "../serving/states.ts";

for (const architecture of STATEFUL) {
  Deno.test(`Engine on the GPU answers requests to ${architecture} as it does alone, despite preemptions`, () =>
    // The cache does not grow.
    checkAnswers(
      architecture,
      async ({ weights, config }, blocks) =>
        await GpuRunner.load(await openGpu(), { file: weights, config }, {
          ...{ contextLength: 128, blocks: [blocks], maxSequences: 2 },
        }),
    ));
}
