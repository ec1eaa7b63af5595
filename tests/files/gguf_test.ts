/** openGguf() on valid files, compared with another GGUF reader. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { gguf } from "@huggingface/gguf";
import { openGguf } from "../../engine/files/gguf.ts";
import type { MetadataValue } from "../../engine/files/model_file.ts";
import { ggufBytes, tinyModel, tinyParts } from "../../fixtures/tiny_models.ts";
import { REAL_MODEL, realModelMissing, withFile } from "./on_disk.ts";
import { key, rawGguf, tensor, TYPE, u32, VALID_KEYS } from "./raw_gguf.ts";

for (const version of [2, 3]) {
  Deno.test(`openGguf() reads every value type and the tensor table of version ${version}`, () => {
    withFile("valid.gguf", rawGguf({ version }), (path) => {
      const file = openGguf(path);
      assert.deepEqual(file.metadata, VALID_METADATA);
      const start = Deno.statSync(path).size - 100;
      assert.deepEqual([...file.tensors.values()], [
        {
          name: "x.weight",
          type: "F32",
          shape: [2, 2, 4],
          byteOffset: start,
          byteLength: 64,
          file: 0,
        },
        {
          name: "y.weight",
          type: "Q4_0",
          shape: [2, 32],
          byteOffset: start + 64,
          byteLength: 36,
          file: 0,
        },
      ]);
      assert.equal(file.format, "gguf");
      assert.deepEqual(file.paths, [path]);
      assert.equal(file.byteLength, start + 100);
      file.close();
    });
  });
}

const VALID_METADATA = new Map<string, MetadataValue>([
  ["general.architecture", "llama"],
  ["a.uint8", 255],
  ["a.int8", -1],
  ["a.uint16", 65535],
  ["a.int16", -2],
  ["a.uint32", 4294967295],
  ["a.int32", -3],
  ["a.float32", 1.5],
  ["a.bool", true],
  ["a.string", "Ġ水🎉"],
  ["a.uint64", 2n ** 64n - 1n],
  ["a.int64", -5],
  ["a.float64", -0.1],
  ["a.strings", ["a", "", "é", "🎉b"]],
  ["a.numbers", [1, -1]],
  ["a.empty", []],
  ["a.nested", [[7]]],
  ["__proto__", false],
]);

Deno.test("openGguf() reads ranges of a tensor, and refuses those beyond it", () => {
  withFile("valid.gguf", rawGguf(), (path) => {
    const file = openGguf(path);
    const tensor = file.tensors.get("y.weight")!;
    const into = new Uint8Array(5);
    file.read(tensor, 31, into);
    assert.deepEqual([...into], [95, 96, 97, 98, 99]);
    file.read(tensor, 36, new Uint8Array(0));
    assert.throws(() => file.read(tensor, 32, into), {
      name: "RangeError",
      message: "Cannot read tensor 'y.weight': bytes 32 to 37 are outside its 36 bytes",
    });
    assert.throws(() => file.read(tensor, -1, into), RangeError);
    Deno.truncateSync(path, Deno.statSync(path).size - 1);
    assert.throws(() => file.read(tensor, 31, into), { name: "ModelFormatError" });
    file.close();
  });
});

Deno.test("openGguf() honours general.alignment", () => {
  const keys = [...VALID_KEYS, key("general.alignment", TYPE.uint32, u32(512))];
  const bytes = rawGguf({ keys, alignment: 512, tensors: [] });
  withFile("aligned.gguf", bytes, (path) => openGguf(path).close());
  const tensors = [tensor("first", [2n]), tensor("second", [2n], { offset: 512n })];
  withFile("aligned.gguf", rawGguf({ keys, alignment: 512, tensors, dataBytes: 520 }), (path) => {
    const file = openGguf(path);
    const at = [...file.tensors.values()].map((tensor) => tensor.byteOffset);
    assert.equal(at[0]! % 512, 0);
    assert.equal(at[1]! - at[0]!, 512);
    file.close();
  });
});

Deno.test("openGguf() reads strings that span its read buffers", () => {
  // Many strings, so that some span two pieces of 64 KiB, and one that is longer than a piece.
  const texts = Array.from({ length: 3000 }, (_, i) => "é".repeat(i % 67) + i);
  texts.splice(1500, 0, "水".repeat(500_000));
  const { metadata, tensors } = tinyParts("llama", "Q8_0");
  metadata.set("texts", { type: "array", of: "string", value: texts });
  withFile("texts.gguf", ggufBytes({ metadata, tensors }), (path) => {
    const file = openGguf(path);
    assert.deepEqual(file.metadata.get("texts"), texts);
    file.close();
  });
});

Deno.test("openGguf() agrees with @huggingface/gguf on a tiny model", async () => {
  const bytes = tinyModel("qwen3", "Q4_K_M");
  const path = join(Deno.makeTempDirSync(), "tiny.gguf");
  Deno.writeFileSync(path, bytes);
  await compareWithHuggingFace(path);
  Deno.removeSync(join(path, ".."), { recursive: true });
});

Deno.test({
  name: "openGguf() agrees with @huggingface/gguf on a real model",
  ignore: realModelMissing(),
  fn: () => compareWithHuggingFace(REAL_MODEL),
});

/** Asserts that both readers return the same metadata and tensor table. */
async function compareWithHuggingFace(path: string): Promise<void> {
  const theirs = await gguf(path, { allowLocalFile: true });
  const file = openGguf(path);
  const { version, tensor_count, kv_count, ...metadata } = theirs.metadata as unknown as Record<
    string,
    MetadataValue
  >;
  assert.equal(version, 3);
  assert.equal(Number(tensor_count), file.tensors.size);
  assert.equal(Number(kv_count), file.metadata.size);
  for (const [key, value] of file.metadata) assert.deepEqual(value, metadata[key], key);
  const start = Number(theirs.tensorDataOffset);
  for (const theirTensor of theirs.tensorInfos) {
    const tensor = file.tensors.get(theirTensor.name)!;
    assert.deepEqual(tensor.shape, theirTensor.shape.map(Number).reverse(), theirTensor.name);
    assert.equal(tensor.byteOffset, start + Number(theirTensor.offset), theirTensor.name);
  }
  file.close();
}
