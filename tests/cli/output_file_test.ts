import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import { UsageError } from "../../cli/exit_codes.ts";
import { FileReplacer } from "../../cli/file_replacer.ts";
import { openOutputFiles, OutputFile } from "../../cli/output_file.ts";
import { Terminal } from "../../cli/terminal.ts";

const WAYS = {
  "by another file": { replacer: new FileReplacer() },
  "in place": {},
} as const;

const namesIn = (directory: string) => [...Deno.readDirSync(directory)].map(({ name }) => name);

function exists(path: string): boolean {
  return [...Deno.readDirSync(dirname(path))].some(({ name }) => name === basename(path));
}

for (const [way, options] of Object.entries(WAYS)) {
  Deno.test(`OutputFile (${way}) replaces the content of a file, also with a shorter text`, () => {
    const path = join(Deno.makeTempDirSync(), "report.md");
    Deno.writeTextFileSync(path, "what was there before");
    {
      using file = OutputFile.open("output", path, options);
      assert.equal(Deno.readTextFileSync(path), "what was there before");
      file.write("the first, longer text");
      assert.equal(Deno.readTextFileSync(path), "the first, longer text");
      file.write(new TextEncoder().encode("short"));
      assert.equal(Deno.readTextFileSync(path), "short");
    }
    assert.equal(Deno.readTextFileSync(path), "short");
  });

  Deno.test(`OutputFile (${way}) creates and changes nothing if nothing is written`, () => {
    const directory = Deno.makeTempDirSync();
    const [fresh, there] = [join(directory, "new"), join(directory, "there")];
    Deno.writeTextFileSync(there, "earlier");
    for (const path of [fresh, there]) {
      using _file = OutputFile.open("json", path, options);
    }
    assert.ok(!exists(fresh));
    assert.equal(Deno.readTextFileSync(there), "earlier");
  });

  Deno.test(`OutputFile (${way}) keeps an earlier report if the disk has no room for the next`, async () => {
    const directory = Deno.makeTempDirSync();
    const path = join(directory, "report.json");
    Deno.writeTextFileSync(path, "what was there before");
    using file = OutputFile.open("json", path, options);
    // Simulates a disk that is full after part of the report.
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
    assert.deepEqual(namesIn(directory), ["report.json"]);
  });
}

Deno.test("OutputFile replaces a report only by a complete one, with the same permissions", () => {
  const directory = Deno.makeTempDirSync();
  const path = join(directory, "report.json");
  Deno.writeTextFileSync(path, "earlier", { mode: 0o640 });
  const before = Deno.statSync(path);
  using file = OutputFile.open("json", path, { replacer: new FileReplacer() });
  assert.equal(file.inPlace, undefined);
  assert.deepEqual(namesIn(directory), ["report.json"]);
  const { renameSync } = Deno;
  const seen: string[] = [];
  Deno.renameSync = (from, to) => {
    seen.push(Deno.readTextFileSync(path), Deno.readTextFileSync(from));
    renameSync(from, to);
  };
  try {
    file.write("the whole report");
  } finally {
    Deno.renameSync = renameSync;
  }
  assert.deepEqual(seen, ["earlier", "the whole report"]);
  const after = Deno.statSync(path);
  assert.equal(after.mode, before.mode);
  if (before.ino !== null) assert.notEqual(after.ino, before.ino);
  assert.deepEqual(namesIn(directory), ["report.json"]);
});

Deno.test("OutputFile writes in place, and says why, if it must not replace the file", () => {
  const directory = Deno.makeTempDirSync();
  const at = (name: string) => join(directory, name);
  Deno.writeTextFileSync(at("one"), "earlier");
  Deno.linkSync(at("one"), at("two"));
  {
    using file = OutputFile.open("json", at("one"), WAYS["by another file"]);
    assert.match(file.inPlace!, /a second name/);
    file.write("later");
  }
  assert.equal(Deno.readTextFileSync(at("two")), "later");
  using file = OutputFile.open("json", at("three"));
  assert.match(file.inPlace!, /not started with its launcher/);
});

Deno.test("openOutputFiles() refuses an input, a part of a model, and a file named twice", () => {
  const directory = Deno.makeTempDirSync();
  const at = (name: string) => join(directory, name);
  for (const name of ["prompts.txt", "config.json", "tokenizer.json", "x.safetensors"]) {
    Deno.writeTextFileSync(at(name), name);
  }
  Deno.linkSync(at("prompts.txt"), at("also.txt"));
  const inputs = [at("prompts.txt"), at("missing"), directory];
  const options = { replacer: new FileReplacer(), terminal: new Terminal({ quiet: true }) };
  for (
    const [paths, message] of [
      [{ json: at("prompts.txt") }, /it is an input of this command; --json needs another file$/],
      [{ json: at("also.txt") }, /it is an input of this command/],
      [{ csv: at("config.json") }, /it is a part of the model in .*; --csv needs another file$/],
      [{ json: at("tokenizer.json") }, /it is a part of the model in /],
      [{ json: at("r"), csv: at("r") }, /--json writes it; --csv needs another file$/],
    ] as const
  ) {
    assert.throws(() => openOutputFiles<string>(paths, { ...options, inputs }), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(Deno.readTextFileSync(at("prompts.txt")), "prompts.txt");
  assert.ok(!exists(at("r")));
  // In a directory without a model, config.json is an ordinary file.
  const other = join(Deno.makeTempDirSync(), "config.json");
  Deno.writeTextFileSync(other, "mine");
  openOutputFiles({ json: other }, { ...options, inputs })[Symbol.dispose]();
});

Deno.test("OutputFile refuses options, models, directories, and paths that do not exist", () => {
  const directory = Deno.makeTempDirSync();
  const model = join(directory, "model");
  Deno.writeTextFileSync(model, "GGUF and more");
  for (
    const [path, message] of [
      ["-m", /^Cannot write -m: --json needs a file name/],
      [model, /: it is a model; --json needs another file$/],
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
