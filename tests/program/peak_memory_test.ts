/** Readers need little memory for files that claim or contain much, measured in new processes. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { FAULTS } from "../files/gguf_faults.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { rawGguf } from "../files/raw_gguf.ts";
import { rawSafetensors, validSafetensors } from "../files/raw_safetensors.ts";
import { peakBytes } from "./peak_memory.ts";

Deno.test("openGguf() needs little memory for a file that claims large sizes", () => {
  const claims = FAULTS.filter(({ name }) => /2\^|more|limit|past the end|overflow/.test(name));
  assert.ok(claims.length > 15);
  withFile("valid.gguf", rawGguf(), (valid) => {
    const least = peakBytes([valid]);
    // Files that are small on disk share a process; each of the others has its own.
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

/** Headers that need the most memory of those that the limits allow, or exceed the limits. */
const LARGE = {
  "all keys": `{${Array.from({ length: 79_990 }, (_, i) => `"${i.toString(36)}":0`)}}`,
  "all keys, each an object's": `{"x":[${
    Array.from({ length: 79_990 }, (_, i) => `{"${i.toString(36)}":0}`)
  }]}`,
  "all values": `{"x":[${"[0],".repeat(79_990)}0]}`,
  "more keys": `{${Array.from({ length: 4e5 }, (_, i) => `"${i.toString(36)}":0`)}}`,
  "more values": `{"x":[${"{},".repeat(1e6)}{}]}`,
};

Deno.test("openSafetensors() needs little memory for a header with many entries", () => {
  const peak = (weights: Uint8Array) =>
    withFiles(
      { "config.json": "{}", "model.safetensors": weights },
      (directory) => peakBytes([directory]),
    );
  const least = peak(validSafetensors());
  for (const [name, header] of Object.entries(LARGE)) {
    const more = peak(rawSafetensors(header)) - least;
    assert.ok(more < 64 * 2 ** 20, `${more} bytes more than for a valid file: ${name}`);
  }
});
