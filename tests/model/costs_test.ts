/** Bytes and operations per token, computed from the layers: windows, states and tied heads. */

import assert from "node:assert/strict";
import {
  attentionOperations,
  attentionOperationsOfAll,
  kvBlockBytes,
  kvBytesHeld,
  kvBytesPerToken,
  kvBytesRead,
  layerKinds,
  positionsSeenByAll,
  stateCost,
  weightReads,
} from "../../engine/model/costs.ts";
import { kvBlockBytes as blockBytesOf, kvGroups } from "../../engine/model/kv_groups.ts";
import { openGgufBytes } from "../../engine/files/gguf.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";

function modelOf(...model: Parameters<typeof tinyModel>) {
  return readModel(openGgufBytes(tinyModel(...model), "tiny.gguf"));
}

Deno.test("layers with a window read and compute only the positions in it", () => {
  const { config } = modelOf("gemma3", "F16");
  const kinds = layerKinds(config);
  assert.equal(kinds.reduce((sum, { layers }) => sum + layers, 0), config.layers.length);
  assert.deepEqual(kinds.map(({ window }) => window === undefined).sort(), [false, true]);
  for (const length of [1, 5, 31, 32, 33, 200]) {
    // The expected sums, layer by layer.
    let [read, operations, all] = [0, 0, 0];
    for (const { heads, kvHeads, headDim, window = Infinity } of attentionsOf(config.layers)) {
      read += 2 * kvHeads * headDim * 2 * Math.min(length, window);
      operations += 4 * heads * headDim * Math.min(length, window);
      for (let i = 1; i <= length; i++) all += 4 * heads * headDim * Math.min(i, window);
    }
    assert.equal(kvBytesRead(kinds, length, 2), read);
    assert.equal(attentionOperations(kinds, length), operations);
    assert.equal(attentionOperationsOfAll(kinds, length), all);
  }
  assert.equal(kvBytesRead(kinds, 1, 2), kvBytesPerToken(kinds, 2));
  assert.equal(positionsSeenByAll({ ...kinds[0]!, window: 3 }, 5), 1 + 2 + 3 + 3 + 3);
});

Deno.test("a block has the bytes of its group of layers, and a window needs few blocks", () => {
  const { config } = modelOf("gemma3", "F16");
  const kinds = layerKinds(config);
  const groups = kvGroups(config);
  const bytes = groups.map((group) => blockBytesOf(config, group, 2));
  assert.deepEqual(kvBlockBytes(kinds, 2), bytes);
  // 1000 tokens need 63 blocks; a window needs as many as it spans, and up to two partly used ones.
  const { window } = groups[1]!;
  const few = Math.ceil((window! - 1) / 16) + 2;
  assert.equal(kvBytesHeld(kinds, 1000, 2), 63 * bytes[0]! + few * bytes[1]!);
});

Deno.test("a token reads one row of an untied embedding, and all rows of a tied one", () => {
  const shareOf = (file: ReturnType<typeof modelOf>, name: string) =>
    weightReads(file.config, file.weights.tensors)
      .find(({ tensor }) => tensor.name === name)?.share;
  const models = (["llama", "qwen2", "qwen3", "qwen3moe"] as const).map((name) =>
    modelOf(name, "F16")
  );
  assert.deepEqual(new Set(models.map(({ config }) => config.tiedOutput)), new Set([true, false]));
  for (const model of models) {
    const { tiedOutput, vocabSize } = model.config;
    assert.equal(shareOf(model, "token_embd.weight"), tiedOutput ? 1 : 1 / vocabSize);
    if (!tiedOutput) assert.equal(shareOf(model, "output.weight"), 1);
    assert.equal(shareOf(model, "blk.0.attn_q.weight"), 1);
  }
});

Deno.test("stateCost() counts the states of recurrent layers, and their convolutions are not matrices", () => {
  const { config, weights } = modelOf("qwen35", "F16");
  // Two layers with 6 heads of 32 × 32. Their convolutions span 4 tokens of 2 · 2 · 32 + 6 · 32
  // channels.
  const channels = 2 * 2 * 32 + 6 * 32;
  assert.deepEqual(stateCost(config), {
    bytes: 2 * 4 * (6 * 32 * 32 + 3 * channels),
    operations: 2 * (7 * 6 * 32 * 32 + 2 * 4 * channels),
    convolution: { bytes: 2 * 4 * 3 * channels, operations: 2 * 2 * 4 * channels },
  });
  const vectors = weightReads(config, weights.tensors).filter(({ isMatrix }) => !isMatrix);
  assert.equal(vectors.filter(({ tensor: { shape } }) => shape.length === 2).length, 2);
  assert.equal(stateCost(modelOf("llama", "F16").config), undefined);
  // Two layers with 6 heads of 24 × 32. Their convolutions span 4 tokens of 2 · 2 · 24 + 6 · 32
  // channels.
  const ofMamba = 2 * 2 * 24 + 6 * 32;
  assert.deepEqual(stateCost(modelOf("nemotron_h", "F16").config), {
    bytes: 2 * 4 * (6 * 24 * 32 + 3 * ofMamba),
    operations: 2 * (5 * 6 * 24 * 32 + 2 * 4 * ofMamba),
    convolution: { bytes: 2 * 4 * 3 * ofMamba, operations: 2 * 2 * 4 * ofMamba },
  });
});
