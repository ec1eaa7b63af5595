/** openGguf() meets damaged files with a typed error of one line, soon and in little memory. */

import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { FAULTS } from "./gguf_faults.ts";
import { withFile, withFiles } from "./on_disk.ts";
import { peakBytes } from "./peak_memory.ts";
import { rawGguf } from "./raw_gguf.ts";

for (const { name, bytes, says, unsupported } of FAULTS) {
  Deno.test(`openGguf() refuses: ${name}`, () => {
    withFile("bad.gguf", bytes, (path) => {
      const start = performance.now();
      const error = thrownBy(path);
      assert.ok(performance.now() - start < 1000, "it took a second");
      assertRefusal(error, path);
      assert.match(error.message, says);
      assert.equal(error instanceof UnsupportedError, unsupported ?? false);
    });
  });
}

Deno.test("openGguf() refuses every file that is cut short", () => {
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

Deno.test("openGguf() takes little memory for a file that claims much", () => {
  const claims = FAULTS.filter(({ name }) => /2\^|more|limit|past the end|overflow/.test(name));
  assert.ok(claims.length > 15);
  withFile("valid.gguf", rawGguf(), (valid) => {
    const least = peakBytes([valid]);
    // Those that are small on disk in one process, the others alone.
    const small = claims.filter(({ bytes }) => bytes.length < 2 ** 20);
    const large = claims.filter(({ bytes }) => bytes.length >= 2 ** 20);
    for (const group of [small, ...large.map((claim) => [claim])]) {
      const files = Object.fromEntries(group.map(({ bytes }, i) => [`${i}.gguf`, bytes]));
      withFiles(files, (directory) => {
        const more = peakBytes(Object.keys(files).map((name) => join(directory, name))) - least;
        const names = group.map(({ name }) => name).join(", ");
        assert.ok(more < 64 * 2 ** 20, `${more} bytes more than for a valid file: ${names}`);
      });
    }
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
  throw new assert.AssertionError({ message: "openGguf() took the file" });
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
