import assert from "node:assert/strict";
import { join } from "node:path";
import { openGguf } from "../../engine/files/gguf.ts";
import { withFiles } from "../files/on_disk.ts";

Deno.test({
  name: "openGguf() refuses a pipe at once",
  ignore: Deno.build.os === "windows", // Windows has no named pipes in the file system.
  fn: () => {
    withFiles({}, (directory) => {
      const pipe = join(directory, "pipe.gguf");
      const { success } = new Deno.Command("sh", { args: ["-c", 'mkfifo "$0"', pipe] })
        .outputSync();
      assert.ok(success);
      assert.throws(() => openGguf(pipe), {
        name: "ModelFormatError",
        message: /it is a pipe or a device/,
      });
    });
  },
});
