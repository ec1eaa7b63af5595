import assert from "node:assert/strict";
import { writeTinyModel } from "../../fixtures/tiny_models.ts";
import { ModelFormatError } from "../../engine/errors.ts";
import { openGguf, openGgufBytes } from "../../engine/files/gguf.ts";

const path = writeTinyModel(Deno.makeTempDirSync(), "llama", "Q8_0");
const bytes = Deno.readFileSync(path);

Deno.test("openGgufBytes() reads from memory what openGguf() reads from the file", () => {
  const file = openGguf(path);
  const memory = openGgufBytes(bytes, "carried.gguf");
  assert.deepEqual(memory.paths, ["carried.gguf"]);
  assert.equal(memory.byteLength, file.byteLength);
  assert.deepEqual(memory.metadata, file.metadata);
  assert.deepEqual(memory.tensors, file.tensors);
  for (const tensor of file.tensors.values()) {
    const [expected, found] = [0, 1].map(() => new Uint8Array(tensor.byteLength - 1));
    file.read(tensor, 1, expected!);
    memory.read(tensor, 1, found!);
    assert.deepEqual(found, expected, tensor.name);
  }
  file.close();
  memory.close();
});

Deno.test("openGgufBytes() refuses truncated bytes, and its error has the given name", () => {
  for (const length of [0, 7, 100, bytes.length - 1]) {
    assert.throws(() => openGgufBytes(bytes.subarray(0, length), "carried.gguf"), (error) => {
      assert.ok(error instanceof ModelFormatError);
      assert.match(error.message, /^Cannot read carried\.gguf: /);
      return true;
    });
  }
});
