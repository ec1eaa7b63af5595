/** openGguf() on models split into several files, as by llama.cpp's gguf-split. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ModelFormatError, ModelNotFoundError } from "../../engine/errors.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import type { GgufTensorData, GgufValue } from "../../engine/files/gguf_writer.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { ggufBytes, type GgufParts, tinyParts } from "../../fixtures/tiny_models.ts";
import { withFiles } from "./on_disk.ts";

const PARTS = 3;
const whole = tinyParts("llama", "Q4_0");

function partName(index: number, count = PARTS): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return `tiny-${digits(index + 1)}-of-${digits(count)}.gguf`;
}

/** Returns the tiny model's parts by file name. `change` can modify each before it is written. */
function split(change?: (part: GgufParts, index: number) => void): Record<string, Uint8Array> {
  const files: Record<string, Uint8Array> = {};
  const each = Math.ceil(whole.tensors.length / PARTS);
  for (let i = 0; i < PARTS; i++) {
    const metadata = new Map<string, GgufValue>(i === 0 ? whole.metadata : []);
    metadata.set("split.no", { type: "uint16", value: i });
    metadata.set("split.count", { type: "uint16", value: PARTS });
    metadata.set("split.tensors.count", { type: "int32", value: whole.tensors.length });
    const tensors: GgufTensorData[] = whole.tensors.slice(each * i, each * (i + 1));
    const part = { metadata, tensors };
    change?.(part, i);
    files[partName(i)] = ggufBytes(part);
  }
  return files;
}

for (const named of [0, 2]) {
  Deno.test(`openGguf() opens all parts of a split model, given part ${named + 1}`, () => {
    withFiles(split(), (directory) => {
      const file = openGguf(join(directory, partName(named)));
      assert.deepEqual(file.paths, [0, 1, 2].map((i) => join(directory, partName(i))));
      assert.equal(file.tensors.size, whole.tensors.length);
      assert.equal(configFromGguf(file).layers.length, 2);
      assert.equal(file.byteLength, Object.values(split()).reduce((sum, b) => sum + b.length, 0));
      for (const { name, data } of whole.tensors) {
        const tensor = file.tensors.get(name)!;
        const into = new Uint8Array(tensor.byteLength);
        file.read(tensor, 0, into);
        assert.deepEqual(into, [...data()][0], name);
      }
      file.close();
    });
  });
}

Deno.test("openGguf() names a missing part", () => {
  const files = split();
  delete files[partName(1)];
  withFiles(files, (directory) => {
    const path = join(directory, partName(0));
    assert.throws(() => openGguf(path), (error) => {
      assert.ok(error instanceof ModelNotFoundError);
      assert.equal(
        error.message,
        `Cannot open ${path}: its part tiny-00002-of-00003.gguf cannot be read; ` +
          `put all parts into one directory`,
      );
      return true;
    });
  });
});

Deno.test("openGguf() refuses parts that do not belong together", () => {
  const faults: readonly (readonly [(part: GgufParts, index: number) => void, RegExp])[] = [
    [({ metadata }, i) => {
      if (i === 1) metadata.set("split.no", { type: "uint16", value: 2 });
    }, /00002-of-00003\.gguf: key 'split\.no' is '2', but the file's name says part 2 of 3/],
    [({ metadata }, i) => {
      if (i === 1) metadata.delete("split.count");
    }, /key 'split\.count' is missing, but the file's name/],
    [({ metadata }) => {
      metadata.set("split.count", { type: "uint16", value: 4 });
    }, /it is one of 4 parts, but its name does not end in -0000N-of-00004\.gguf/],
    [({ metadata }) => {
      metadata.set("split.count", { type: "uint16", value: 65535 });
    }, /key 'split\.count' is '65535', not a number of parts up to 1024/],
    [({ tensors }, i) => {
      if (i === 1) tensors.push(whole.tensors[0]!);
    }, /tensor 'token_embd\.weight' is also in .*00001-of-00003\.gguf/],
    [({ tensors }, i) => {
      if (i === 2) tensors.pop();
    }, /'split\.tensors\.count' is '21', but the 3 parts have 20 tensors/],
  ];
  for (const [change, says] of faults) {
    withFiles(split(change), (directory) => {
      assert.throws(() => openGguf(join(directory, partName(0))), (error) => {
        assert.ok(error instanceof ModelFormatError, String(error));
        assert.match(error.message, says);
        return true;
      });
    });
  }
});

Deno.test("openGguf() refuses a renamed part", () => {
  const files = split();
  withFiles({ "renamed.gguf": files[partName(0)]! }, (directory) => {
    assert.throws(() => openGguf(join(directory, "renamed.gguf")), {
      name: "ModelFormatError",
      message:
        /its name does not end in -0000N-of-00003\.gguf; restore the original names of the parts/,
    });
  });
});
