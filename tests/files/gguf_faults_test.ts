/** openGguf() rejects damaged files quickly, with a typed error of one line. */

import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { FAULTS } from "./gguf_faults.ts";
import { withFile, withFiles } from "./on_disk.ts";
import { rawGguf } from "./raw_gguf.ts";
import { cpuSeconds } from "../time.ts";

for (const { name, bytes, says, unsupported } of FAULTS) {
  Deno.test(`openGguf() refuses: ${name}`, () => {
    withFile("bad.gguf", bytes, (path) => {
      let error: Error | undefined;
      const seconds = cpuSeconds(() => error = thrownBy(path));
      assert.ok(seconds < 1, `${seconds} s of CPU time`);
      assertRefusal(error, path);
      assert.match(error.message, says);
      assert.equal(error instanceof UnsupportedError, unsupported ?? false);
    });
  });
}

Deno.test("openGguf() refuses a file truncated at any length", () => {
  const bytes = rawGguf();
  withFiles({}, (directory) => {
    const path = join(directory, "cut.gguf");
    for (let length = 0; length < bytes.length; length++) {
      Deno.writeFileSync(path, bytes.subarray(0, length));
      const error = thrownBy(path);
      assertRefusal(error, path);
      assert.ok(error instanceof ModelFormatError, `${length} bytes: ${error}`);
    }
  });
});

Deno.test("openGguf() reads or refuses a file with any bytes changed", () => {
  const valid = rawGguf();
  const change = fc.tuple(fc.nat(valid.length - 101), fc.nat(255));
  withFiles({}, (directory) => {
    const path = join(directory, "changed.gguf");
    let refused = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = valid.slice();
        for (const [at, value] of changes) bytes[at] = value;
        Deno.writeFileSync(path, bytes);
        try {
          openGguf(path).close();
        } catch (error) {
          assertRefusal(error, path);
          refused++;
        }
      }),
      { seed: 1, numRuns: 600 },
    );
    assert.ok(refused > 300, `${refused} of 600 were refused`);
  });
});

function thrownBy(path: string): Error {
  let file;
  try {
    file = openGguf(path);
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  file.close();
  throw new assert.AssertionError({ message: "openGguf() accepted the file" });
}

function assertRefusal(error: unknown, path: string): asserts error is Error {
  assert.ok(
    error instanceof ModelFormatError || error instanceof UnsupportedError,
    `not a refusal: ${error instanceof Error ? error.stack : error}`,
  );
  assert.ok(error.message.startsWith(`Cannot read ${path}: `), error.message);
  assert.doesNotMatch(error.message, /\p{Cc}/u);
  assert.ok(error.message.length < 400 + path.length, error.message);
}
