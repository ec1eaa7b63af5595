import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run, runTvllm, symlink } from "./run_tvllm.ts";

const posix = { ignore: Deno.build.os === "windows" };

/** Runs a script with `OutputFile` and `FileReplacer` imported. Returns what it prints. */
async function runScript(body: string, permissions = ["-A"]): Promise<string> {
  const script = join(Deno.makeTempDirSync(), "program.ts");
  const imports = ["OutputFile", "FileReplacer"].map((name) => {
    const file = name === "OutputFile" ? "output_file" : "file_replacer";
    return `import { ${name} } from ${JSON.stringify(join(ROOT, `cli/${file}.ts`))};\n`;
  });
  Deno.writeTextFileSync(script, imports.join("") + body);
  const flags = ["--no-prompt", ...permissions, `--config=${join(ROOT, "deno.json")}`];
  const { code, stdout, stderr } = await run(Deno.execPath(), ["run", ...flags, script]);
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test({
  name: "OutputFile writes only the last content to a pipe, completely",
  ...posix,
  fn: async () => {
    const stdout = await runScript(`
      using file = OutputFile.open("json", "/dev/stdout", { replacer: new FileReplacer() });
      file.write("first ");
      file.write("x".repeat(200_000));`);
    assert.equal(stdout, "x".repeat(200_000));
  },
});

Deno.test({
  name: "OutputFile replaces the target of a link, and keeps the link",
  ...posix,
  fn: async () => {
    const directory = Deno.makeTempDirSync();
    const [target, link] = [join(directory, "target"), join(directory, "link")];
    Deno.writeTextFileSync(target, "earlier");
    symlink(target, link);
    await runScript(`
      using file = OutputFile.open("json", ${
      JSON.stringify(link)
    }, { replacer: new FileReplacer() });
      file.write("later");`);
    assert.ok(Deno.lstatSync(link).isSymlink);
    assert.equal(Deno.readTextFileSync(target), "later");
  },
});

Deno.test("after write access is dropped, an isolated FileReplacer writes only the files it accepted before", async () => {
  const directory = Deno.makeTempDirSync();
  const stdout = await runScript(`
    const directory = ${JSON.stringify(directory)};
    const replacer = new FileReplacer({ isolated: true });
    const file = OutputFile.open("json", directory + "/report.json", { replacer });
    replacer.start();
    Deno.permissions.revokeSync({ name: "write" });
    const attempt = (write) => {
      try { write(); return "written"; } catch (error) { return error.constructor.name; }
    };
    const content = new TextEncoder().encode("x".repeat(3_000_000));
    console.log(JSON.stringify([
      attempt(() => file.write(content)),
      attempt(() => replacer.replace(directory + "/other", content)),
      attempt(() => Deno.writeFileSync(directory + "/third", content)),
    ]));
    replacer[Symbol.dispose]();`);
  assert.deepEqual(JSON.parse(stdout), ["written", "NotCapable", "NotCapable"]);
  assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["report.json"]);
  assert.equal(Deno.statSync(join(directory, "report.json")).size, 3_000_000);
});

Deno.test({
  name: "bench replaces an earlier report with a complete one, and leaves no other files",
  ...posix,
  fn: async () => {
    const directory = Deno.makeTempDirSync();
    const path = join(directory, "report.json");
    Deno.writeTextFileSync(path, "earlier");
    using earlier = Deno.openSync(path);
    const model = join(ROOT, "fixtures/models/tiny-llama-q8_0.gguf");
    const args = ["bench", "memory", "-m", model, "--device", "cpu", "--json", path];
    const { code, stderr } = await runTvllm(args);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /in place/);
    assert.equal(JSON.parse(Deno.readTextFileSync(path)).complete, true);
    // If the report was written in place, the open file would contain it too.
    const bytes = new Uint8Array(100);
    assert.equal(new TextDecoder().decode(bytes.subarray(0, earlier.readSync(bytes)!)), "earlier");
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["report.json"]);
  },
});
