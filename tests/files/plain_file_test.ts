import assert from "node:assert/strict";
import { join } from "node:path";
import { clearWay, replaceFile } from "../../engine/files/plain_file.ts";
import { withFiles } from "./on_disk.ts";

const names = (directory: string) =>
  Array.from(Deno.readDirSync(directory), ({ name }) => name).sort();

Deno.test("clearWay() removes second names of files, and leaves plain ones", () => {
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

Deno.test("replaceFile() takes the place of what is there, and leaves nothing beside it", () => {
  withFiles({ victim: "precious" }, (directory) => {
    const path = join(directory, "file");
    Deno.linkSync(join(directory, "victim"), path);
    // What a killed process of the same number left.
    Deno.linkSync(join(directory, "victim"), `${path}.${Deno.pid}.tmp`);
    replaceFile(path, new TextEncoder().encode("new"));
    assert.equal(Deno.readTextFileSync(path), "new");
    assert.equal(Deno.readTextFileSync(join(directory, "victim")), "precious");
    assert.deepEqual(names(directory), ["file", "victim"]);
    assert.throws(() => replaceFile(directory, new Uint8Array(1)));
    assert.deepEqual(names(directory), ["file", "victim"]);
  });
});
