import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { Weights } from "../../engine/gpu/weights.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";

Deno.test("Weights uploads all buffers together, after the last one was created", async () => {
  const gpu = await openGpu();
  const { queue } = gpu.device;
  const writes: string[] = [];
  const write = queue.writeBuffer;
  queue.writeBuffer = (...args) => {
    writes.push(args[0].label);
    write.apply(queue, args);
  };
  withFile("m.gguf", tinyModel("llama", "Q4_0"), (path) => {
    using stack = new DisposableStack();
    const file = stack.adopt(openGguf(path), (file) => file.close());
    const done: number[] = [];
    const weights = new Weights(gpu, file, {
      tile: 1,
      progress: (bytes) => done.push(bytes),
    });
    const names = ["blk.0.attn_q.weight", "blk.0.attn_norm.weight"] as const;
    weights.matrix(names[0]);
    weights.vector(names[1]);
    assert.deepEqual([writes, done], [[], []]);
    weights.upload();
    assert.deepEqual(writes, [`${names[0]} quants`, `${names[0]} scales`, names[1]]);
    const [first, second] = names.map((name) => file.tensors.get(name)!.byteLength);
    assert.deepEqual(done, [first, first! + second!]);
    // A step that does not keep packed weights uploads them again.
    weights.upload();
    assert.deepEqual(writes.slice(3), writes.slice(0, 3));
  });
  gpu.device.destroy();
});
