/** openGguf() on paths that are not a model file: missing, a directory, a device, another file. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ModelFormatError, ModelNotFoundError } from "../../engine/errors.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { withFile, withFiles } from "./on_disk.ts";
import { rawGguf } from "./raw_gguf.ts";

Deno.test("openGguf() reports a missing file", () => {
  withFile("file", "x", (path) => {
    const missing = path + ".gguf";
    assert.throws(() => openGguf(missing), {
      name: "ModelNotFoundError",
      message: `Cannot open ${missing}: there is no such file; check the path`,
    });
    assert.throws(() => openGguf(join(path, "model.gguf")), ModelNotFoundError);
    assert.throws(() => openGguf(`${path}\n${"x".repeat(5000)}`), (error) => {
      assert.ok(error instanceof ModelNotFoundError);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  });
});

Deno.test("openGguf() refuses a directory", () => {
  withFiles({}, (directory) => {
    assert.throws(() => openGguf(directory), {
      name: "ModelFormatError",
      message: `Cannot open ${directory}: it is a directory; pass the model file in it`,
    });
  });
});

Deno.test({
  name: "openGguf() refuses a device at once",
  ignore: Deno.build.os === "windows", // It has no device files.
  fn: () => {
    assert.throws(() => openGguf("/dev/null"), {
      name: "ModelFormatError",
      message: /it is a pipe or a device/,
    });
  },
});

Deno.test({
  name: "openGguf() reports a missing read permission",
  permissions: { read: false },
  fn: () => {
    assert.throws(() => openGguf("/some/model.gguf"), {
      name: "ModelNotFoundError",
      message: "Cannot open /some/model.gguf: Deno has no permission to read it; " +
        "add --allow-read for this path",
    });
  },
});

Deno.test("openGguf() reports a file that was changed after it was opened", () => {
  withFile("x.gguf", rawGguf(), (path) => {
    const file = openGguf(path);
    const tensor = file.tensors.get("x.weight")!;
    file.read(tensor, 0, new Uint8Array(8));
    // The content stays the same. An old modification time certainly differs from the present one.
    Deno.utimeSync(path, 1e9, 1e9);
    assert.throws(() => file.read(tensor, 0, new Uint8Array(8)), {
      name: "ModelFormatError",
      message:
        `Cannot read ${path}: it changed while it was being read; do not modify it until it is loaded`,
    });
    file.close();
  });
});

Deno.test("openGguf() names the kind of a file that is not GGUF", () => {
  const kinds: readonly (readonly [string | Uint8Array, RegExp])[] = [
    ["<!DOCTYPE html><html><body>404</body></html>", /it is a web page; download the file itself/],
    ["\n <html>", /it is a web page/],
    [Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0), /it is a ZIP archive or a PyTorch checkpoint/],
    [Uint8Array.of(0x1f, 0x8b, 8, 0), /it is compressed with gzip/],
    [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd), /it is compressed with zstd/],
    ["version https://git-lfs.github.com/spec/v1\noid sha256:0", /it is a Git LFS pointer/],
    ['\x40\0\0\0\0\0\0\0{"__metadata__":{}}', /it looks like a safetensors file/],
    ['{"error":"Repository not found"}', /it is JSON text/],
    ["lmgg0000", /a format older than GGUF/],
    ["Once upon a time", /it starts with 'Once' instead of 'GGUF'/],
  ];
  for (const [content, says] of kinds) {
    withFile("model.gguf", content, (path) => {
      assert.throws(() => openGguf(path), (error) => {
        assert.ok(error instanceof ModelFormatError);
        assert.ok(error.message.startsWith(`Cannot read ${path}: `));
        assert.match(error.message, says);
        return true;
      });
    });
  }
});

Deno.test("a model file can be closed twice", () => {
  withFile("x.gguf", rawGguf(), (path) => {
    const file = openGguf(path);
    file.close();
    file.close();
  });
});
