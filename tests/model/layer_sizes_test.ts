import assert from "node:assert/strict";
import { ModelFormatError } from "../../engine/errors.ts";
import { openGgufBytes } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { assertAllClose } from "../assert.ts";
import { withBytes } from "../cpu/cpu_runner.ts";
import { logitsOf, runnerOf } from "../reference/tiny_runner.ts";
import { unevenModel } from "./layer_sizes.ts";

const IDS = Array.from({ length: 40 }, (_, i) => (i * 31 + 7) % 200);

Deno.test("layers have the sizes given by arrays, on the CPU and in the reference", async () => {
  const { layers } = configFromGguf(openGgufBytes(unevenModel(), "m.gguf"));
  assert.deepEqual(
    layers.map(({ mixer, feedForward }) => [
      mixer?.kind === "attention" && mixer.heads,
      mixer?.kind === "attention" && mixer.kvHeads,
      feedForward?.width,
    ]),
    [[6, 2, 160], [4, 1, 96]],
  );
  const expected = await logitsOf(runnerOf(unevenModel()), IDS);
  await withBytes(unevenModel(), { kvType: "f32", threads: 2 }, async (runner) => {
    const logits = await logitsOf(runner, IDS, { chunk: 7 });
    for (const [i, row] of logits.entries()) assertAllClose(row, expected[i]!, { absolute: 2e-3 });
  });
});

Deno.test("arrays of sizes that do not fit the layers are refused", () => {
  for (
    const [changes, message] of [
      [{ feed_forward_length: [160, 96, 96] }, /feed_forward_length' is an array, not 2 whole/],
      [{ "attention.head_count": [6, 0] }, /head_count' is an array, not 2 whole numbers from 1/],
      [{ "attention.head_count_kv": [2, 3] }, /layer 1 has 3 key-value heads, which do not divide/],
      [{ "attention.head_count": [6, 6] }, /'blk\.1\.attn_q\.weight' has the shape 64 × 96/],
    ] as const
  ) {
    assert.throws(
      () => configFromGguf(openGgufBytes(unevenModel(changes), "m.gguf")),
      (error) => {
        assert.ok(error instanceof ModelFormatError, String(error));
        assert.match(error.message, message);
        return true;
      },
    );
  }
});
