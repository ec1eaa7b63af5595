import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import { UsageError } from "../../cli/exit_codes.ts";
import { OutputFile } from "../../cli/output_file.ts";

function exists(path: string): boolean {
  return [...Deno.readDirSync(dirname(path))].some(({ name }) => name === basename(path));
}

Deno.test("OutputFile replaces what is in a file, with something shorter too", () => {
  const path = join(Deno.makeTempDirSync(), "report.md");
  Deno.writeTextFileSync(path, "what was there before");
  {
    using file = OutputFile.open("output", path);
    assert.equal(Deno.readTextFileSync(path), "what was there before");
    file.write("the first, longer text");
    assert.equal(Deno.readTextFileSync(path), "the first, longer text");
    file.write(new TextEncoder().encode("short"));
    assert.equal(Deno.readTextFileSync(path), "short");
  }
  assert.equal(Deno.readTextFileSync(path), "short");
});

Deno.test("OutputFile removes what it made for nothing, and nothing else", () => {
  const directory = Deno.makeTempDirSync();
  const [fresh, there] = [join(directory, "new"), join(directory, "there")];
  Deno.writeTextFileSync(there, "earlier");
  for (const path of [fresh, there]) {
    using _file = OutputFile.open("json", path);
    assert.ok(exists(path));
  }
  assert.ok(!exists(fresh));
  assert.equal(Deno.readTextFileSync(there), "earlier");
});

Deno.test("OutputFile refuses options, models, and places that are not there", () => {
  const directory = Deno.makeTempDirSync();
  const model = join(directory, "model");
  Deno.writeTextFileSync(model, "GGUF and more");
  for (
    const [path, message] of [
      ["-m", /^Cannot write -m: --json takes a file/],
      [model, /: it is a model; --json takes another file$/],
      [directory, /^Cannot write /],
      [join(directory, "none/report.json"), /^Cannot write .*none/],
    ] as const
  ) {
    assert.throws(() => OutputFile.open("json", path), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(Deno.readTextFileSync(model), "GGUF and more");
});
