import assert from "node:assert/strict";
import { join } from "node:path";
import { ggufPieces, type GgufValue } from "../../engine/files/gguf_writer.ts";
import { pipeTvllm, runTvllm } from "./run_tvllm.ts";

/** Writes a small file with one value of each kind that needs care when it is shown. */
function writeModel(more: readonly (readonly [string, GgufValue])[] = []): string {
  const path = join(Deno.makeTempDirSync(), "a model.gguf");
  using file = Deno.openSync(path, { create: true, write: true });
  const pieces = ggufPieces(
    new Map<string, GgufValue>([
      ["general.architecture", { type: "string", value: "llama" }],
      ["general.name", { type: "string", value: "Tiny\x1b[31m" }],
      ["x.big", { type: "uint64", value: 2n ** 63n }],
      ["x.infinite", { type: "float32", value: Infinity }],
      ["x.list", { type: "array", of: "int32", value: [1, 2, 3, 4, 5, 6, 7, 8] }],
      ["x.long", { type: "string", value: "a|b\n".repeat(50) }],
      ...more,
    ]),
    [
      {
        name: "token_embd.weight",
        type: "Q8_0",
        shape: [4, 64],
        data: () => [new Uint8Array(272)],
      },
      { name: "output.weight", type: "Q8_0", shape: [4, 64], data: () => [new Uint8Array(272)] },
      { name: "output_norm.weight", type: "F32", shape: [64], data: () => [new Uint8Array(256)] },
    ],
  );
  for (const bytes of pieces) assert.equal(file.writeSync(bytes), bytes.length);
  return path;
}

Deno.test("tvllm inspect names unsupported tensor types, and files that are no language model", async () => {
  const kind: GgufValue = { type: "string", value: "adapter" };
  const path = writeModel([["general.type", kind]]);
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer);
  for (const [tensor, type] of [["token_embd.weight", 16], ["output.weight", 99]] as const) {
    const at = new TextDecoder("latin1").decode(bytes).indexOf(tensor) + tensor.length;
    // The type follows the number of dimensions (4 bytes) and two dimensions of 8 bytes.
    view.setUint32(at + 4 + 16, type, true);
  }
  Deno.writeFileSync(path, bytes);
  const { code, stdout, stderr } = await runTvllm(["inspect", path]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /This is a LoRA adapter for another model, not a language model\./);
  assert.match(stdout, /^\| token_embd\.weight +\| IQ2_XXS \| 4 × 64 \| +288 \|/m);
  assert.match(stdout, /^\| output\.weight +\| type 99 \| 4 × 64 \| +288 \|/m);
});

Deno.test("tvllm inspect shows metadata, tensors and totals as Markdown tables", async () => {
  const path = writeModel();
  const { code, stdout, stderr } = await runTvllm(["inspect", path]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  const rows = stdout.split("\n").filter((line) => line.startsWith("|"))
    .map((line) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
  const row = (name: string) => rows.find(([first]) => first === name)?.slice(1);
  assert.deepEqual(row("x.big"), ["9223372036854775808"]);
  assert.deepEqual(row("x.infinite"), ["Infinity"]);
  assert.deepEqual(row("x.list"), ["8 × [1, 2, 3, 4, 5, 6, …]"]);
  assert.match(row("x.long")![0]!, /^a\\\|b\\u\{a\}a.*…$/);
  assert.deepEqual(row("token_embd.weight"), ["Q8_0", "4 × 64", "272", "8.50"]);
  assert.deepEqual(row("output_norm.weight"), ["F32", "64", "256", "32.00"]);
  assert.deepEqual(row("Q8_0"), ["2", "512", "544", "8.50"]);
  assert.deepEqual(row("all"), ["3", "576", "800", "11.11"]);
  assert.ok(stdout.startsWith("# Tiny\\u{1b}[31m\n"));
});

Deno.test("tvllm inspect --json has every value, also for the model in TVLLM_MODEL", async () => {
  const path = writeModel();
  const { code, stdout } = await runTvllm(["inspect", "--json"], { env: { TVLLM_MODEL: path } });
  assert.equal(code, 0);
  const { format, files, bytes, metadata, tensors, totals } = JSON.parse(stdout);
  assert.equal(format, "gguf");
  assert.deepEqual(files, [path]);
  assert.equal(bytes, Deno.statSync(path).size);
  assert.equal(metadata["x.big"], "9223372036854775808");
  assert.equal(metadata["x.infinite"], "Infinity");
  assert.deepEqual(metadata["x.list"], [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(metadata["x.long"], "a|b\n".repeat(50));
  const { byteOffset, ...first } = tensors[0];
  assert.ok(byteOffset > 0);
  assert.deepEqual(first, {
    name: "token_embd.weight",
    type: "Q8_0",
    shape: [4, 64],
    bytes: 272,
    bitsPerWeight: 8.5,
    file: 0,
  });
  assert.deepEqual(totals, [
    { type: "Q8_0", tensors: 2, weights: 512, bytes: 544, bitsPerWeight: 8.5 },
    { type: "F32", tensors: 1, weights: 64, bytes: 256, bitsPerWeight: 32 },
  ]);
});

Deno.test("a file that is no model, and a missing file, have their exit codes", async () => {
  for (
    const [args, code, message] of [
      [[join(import.meta.dirname!, "inspect_test.ts")], 4, /inspect_test\.ts: /],
      [["a.gguf", "-m", "b.gguf"], 2, /two models: give an argument or --model/],
      [["/no/such.gguf"], 3, /\/no\/such\.gguf.*hf:ORG\/REPO/],
      [["/"], 4, /directory/],
    ] as const
  ) {
    const result = await runTvllm(["inspect", ...args]);
    assert.equal(result.code, code);
    assert.equal(result.stdout, "");
    assert.match(result.stderr, /^error: Cannot [^\n]*\n$/);
    assert.match(result.stderr, message);
  }
});

Deno.test("without a model argument, tvllm inspect shows the built-in model and says so", async () => {
  const { code, stdout, stderr } = await runTvllm(["inspect", "--json"]);
  assert.equal(code, 0);
  assert.match(stderr, /^Using the built-in story model; choose another with -m\n$/);
  assert.equal(JSON.parse(stdout).metadata["general.architecture"], "llama");
  assert.equal((await runTvllm(["inspect", "-q"])).stderr, "");
});

Deno.test("a reader that closes the pipe ends tvllm quietly, with exit code 0", async () => {
  // More than a pipe can buffer, so that the program is writing when the reader closes it.
  const strings = Array.from({ length: 50_000 }, (_, i) => `string ${i}`);
  const path = writeModel([["x.strings", { type: "array", of: "string", value: strings }]]);
  const { code, stdout, stderr } = await pipeTvllm(["inspect", "--json", path], "head -c 20");
  assert.equal(stdout.length, 20);
  assert.equal(stderr, "");
  assert.equal(code, 0);
});
