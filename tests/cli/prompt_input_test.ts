import assert from "node:assert/strict";
import { UsageError } from "../../cli/exit_codes.ts";
import { decodeUtf8, readTextFile } from "../../cli/prompt_input.ts";

Deno.test("decodeUtf8() keeps every character except a byte order mark at the start", () => {
  const text = "naïve \ufeff \ufffd \0 🎉\r\n";
  for (const mark of ["", "\ufeff"]) {
    assert.equal(decodeUtf8(new TextEncoder().encode(mark + text), "x"), text);
  }
});

for (
  const [bytes, byte, value] of [
    [[0x61, 0xff], 1, "0xff"],
    [[0xef, 0xbf, 0xbd, 0x80], 3, "0x80"], // after a genuine U+FFFD
    [[0xc3, 0xa9, 0xe2, 0x82], 2, "0xe2"], // cut short
    [[0xed, 0xa0, 0x80], 0, "0xed"], // a surrogate
    [[0xc0, 0xaf], 0, "0xc0"], // overlong
  ] as const
) {
  Deno.test(`decodeUtf8() finds byte ${byte} of ${bytes} invalid`, () => {
    assert.throws(
      () => decodeUtf8(new Uint8Array(bytes), "standard input"),
      (error) =>
        error instanceof UsageError &&
        error.message.startsWith(`Cannot read text from standard input: byte ${byte} (${value})`),
    );
  });
}

Deno.test("readTextFile() refuses a file that is too large", async () => {
  const path = Deno.makeTempFileSync();
  Deno.truncateSync(path, 2 ** 40); // Sparse: needs no disk space.
  await assert.rejects(() => readTextFile(path), (error) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, /it is larger than 33554432 bytes; shorten it$/);
    return true;
  });
  Deno.removeSync(path);
});
