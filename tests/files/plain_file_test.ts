import assert from "node:assert/strict";
import { join } from "node:path";
import { clearWay, replaceFile } from "../../engine/files/plain_file.ts";
import { withFiles } from "./on_disk.ts";

const names = (directory: string) =>
  Array.from(Deno.readDirSync(directory), ({ name }) => name).sort();

Deno.test("clearWay() removes hard links to other files, and keeps plain files", () => {
  withFiles({ victim: "precious", plain: "stays" }, (directory) => {
    const hard = join(directory, "hard");
    Deno.linkSync(join(directory, "victim"), hard);
    clearWay(hard);
    clearWay(join(directory, "plain"));
    clearWay(join(directory, "nothing"));
    assert.deepEqual(names(directory), ["plain", "victim"]);
    assert.throws(() => clearWay(directory));
  });
});

Deno.test("replaceFile() replaces an existing file, and leaves no temporary file", () => {
  withFiles({ victim: "precious" }, (directory) => {
    const path = join(directory, "file");
    Deno.linkSync(join(directory, "victim"), path);
    // A temporary file that a killed process with the same PID left.
    Deno.linkSync(join(directory, "victim"), `${path}.${Deno.pid}.tmp`);
    replaceFile(path, new TextEncoder().encode("new"));
    assert.equal(Deno.readTextFileSync(path), "new");
    assert.equal(Deno.readTextFileSync(join(directory, "victim")), "precious");
    assert.deepEqual(names(directory), ["file", "victim"]);
    assert.throws(() => replaceFile(directory, new Uint8Array(1)));
    assert.deepEqual(names(directory), ["file", "victim"]);
  });
});
