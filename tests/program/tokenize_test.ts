import assert from "node:assert/strict";
import { writeTinyModel } from "../../fixtures/tiny_models.ts";
import { runTvllm } from "./run_tvllm.ts";

/** The tiny vocabulary has three control tokens, the 256 bytes, then merges; "he" is the second. */
const byte = (b: number) => 3 + b;
const HE = 260;

function tokenize(args: readonly string[], options: Parameters<typeof runTvllm>[1] = {}) {
  const TVLLM_MODEL = writeTinyModel(Deno.makeTempDirSync(), "llama", "F32");
  return runTvllm(["tokenize", ...args], { env: { TVLLM_MODEL }, ...options });
}

Deno.test("tvllm tokenize prints one id and its text per line", async () => {
  const { code, stdout, stderr } = await tokenize(["hel\né"]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  const lines = [`${HE}\the`, `${byte(108)}\tl`, `${byte(10)}\t\\n`];
  assert.equal(stdout, [...lines, `${byte(0xc3)}\t\\xc3`, `${byte(0xa9)}\t\\xa9`, ""].join("\n"));
});

Deno.test("tvllm tokenize --json prints an array, and skips a byte order mark of standard input", async () => {
  for (const args of [["--json"], ["--json", "-"]]) {
    const { stdout } = await tokenize(args, { stdin: "\ufeffhe\r\n" });
    assert.deepEqual(JSON.parse(stdout), [HE, byte(13), byte(10)]);
  }
  assert.equal((await tokenize(["--json"])).stdout, "[]\n");
  // With an argument, standard input is not read.
  assert.equal((await tokenize(["--json", "he"], { stdin: "unread" })).stdout, `[${HE}]\n`);
});

Deno.test("tvllm tokenize treats written-out control tokens as text, unless --special is given", async () => {
  const text = "he<|im_end|>";
  const plain: number[] = JSON.parse((await tokenize(["--json", text])).stdout);
  assert.equal(plain[0], HE);
  assert.ok(plain.every((id) => id > 2));
  assert.equal((await tokenize(["--json", "--special", text])).stdout, `[${HE},2]\n`);
});

Deno.test("tvllm tokenize refuses input that is not UTF-8, and a missing model", async () => {
  const invalid = await tokenize(["-"], { stdin: new Uint8Array([104, 105, 0xff]) });
  assert.equal(invalid.code, 2);
  assert.match(
    invalid.stderr,
    /^error: Cannot read text from standard input: byte 2 \(0xff\).*\n$/,
  );
  const missing = await tokenize(["-m", "/no/such.gguf", "x"]);
  assert.equal(missing.code, 3);
  assert.match(missing.stderr, /^error: Cannot open \/no\/such\.gguf: .*\n$/);
});
