/** Models whose layers have states, served on the GPU; see tests/serving/states_test.ts. */

import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { checkAnswers, STATEFUL } from "../serving/states.ts";

for (const architecture of STATEFUL) {
  Deno.test(`Engine on the GPU gives requests to ${architecture} what each gets alone, with preemptions`, () =>
    // A cache that does not grow.
    checkAnswers(
      architecture,
      async ({ weights, config }, blocks) =>
        await GpuRunner.load(await openGpu(), { file: weights, config }, {
          ...{ contextLength: 128, blocks: [blocks], maxSequences: 2 },
        }),
    ));
}
