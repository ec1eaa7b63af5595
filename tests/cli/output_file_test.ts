import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import { UsageError } from "../../cli/exit_codes.ts";
import { openOutputFiles, OutputFile } from "../../cli/output_file.ts";

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

Deno.test("OutputFile keeps an earlier report where the disk has no room for the next", async () => {
  const directory = Deno.makeTempDirSync();
  const path = join(directory, "report.json");
  Deno.writeTextFileSync(path, "what was there before");
  using file = OutputFile.open("json", path);
  // A disk with room for some of it.
  const writeSync = Deno.FsFile.prototype.writeSync;
  let room = 30;
  Deno.FsFile.prototype.writeSync = function (bytes) {
    if (room === 0) throw new Error("No space left on device (os error 28)");
    const some = bytes.subarray(0, room);
    room -= some.length;
    return writeSync.call(this, some);
  };
  try {
    assert.throws(() => file.write("x".repeat(100)), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^Cannot write .*report\.json: the disk is full/);
      return true;
    });
  } finally {
    Deno.FsFile.prototype.writeSync = writeSync;
  }
  assert.equal(await Deno.readTextFile(path), "what was there before");
});

Deno.test("openOutputFiles() never opens an input, a part of a model or a file twice", () => {
  const directory = Deno.makeTempDirSync();
  const at = (name: string) => join(directory, name);
  for (const name of ["prompts.txt", "config.json", "tokenizer.json", "x.safetensors"]) {
    Deno.writeTextFileSync(at(name), name);
  }
  Deno.linkSync(at("prompts.txt"), at("also.txt"));
  const inputs = [at("prompts.txt"), at("missing"), directory];
  for (
    const [paths, message] of [
      [{ json: at("prompts.txt") }, /it is an input of this command; --json takes another file$/],
      [{ json: at("also.txt") }, /it is an input of this command/],
      [{ csv: at("config.json") }, /it is a part of the model in .*; --csv takes another file$/],
      [{ json: at("tokenizer.json") }, /it is a part of the model in /],
      [{ json: at("r"), csv: at("r") }, /--json writes it; --csv takes another file$/],
    ] as const
  ) {
    assert.throws(() => openOutputFiles<string>(paths, inputs), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(Deno.readTextFileSync(at("prompts.txt")), "prompts.txt");
  assert.ok(!exists(at("r")));
  // Elsewhere a config.json is a file as any other.
  const other = join(Deno.makeTempDirSync(), "config.json");
  Deno.writeTextFileSync(other, "mine");
  openOutputFiles({ json: other }, inputs)[Symbol.dispose]();
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
