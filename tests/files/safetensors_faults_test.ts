/** openSafetensors() rejects damaged files with a typed error of one line. */

import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { openSafetensors } from "../../engine/files/safetensors.ts";
import { withFiles } from "./on_disk.ts";
import {
  entry,
  rawSafetensors,
  single,
  VALID_DATA_BYTES,
  VALID_HEADER,
  validSafetensors,
} from "./raw_safetensors.ts";
import { cpuSeconds } from "../time.ts";

const valid = validSafetensors();
const json = JSON.stringify(VALID_HEADER);

/** Returns a file with two tensors in these ranges of its `dataBytes` bytes of data. */
function two(a: readonly [number, number], b: readonly [number, number], dataBytes: number) {
  const of = ([begin, end]: readonly [number, number]) =>
    entry("F16", [(end - begin) / 2], [begin, end]);
  return rawSafetensors(JSON.stringify({ a: of(a), b: of(b) }), dataBytes);
}

const FAULTS: Readonly<Record<string, readonly [Uint8Array, RegExp]>> = {
  "empty": [new Uint8Array(0), /it has 0 bytes, too few for a header/],
  "7 bytes": [valid.slice(0, 7), /it has 7 bytes, too few for a header/],
  "header length 0": [rawSafetensors(json, 36, 0n), /does not start with '\{'/],
  "header length 2^63": [rawSafetensors(json, 36, 2n ** 63n), /length 9223372036854775808 is more/],
  "header beyond the file": [rawSafetensors(json, 0, 10_000n), /length 10000 is more than the \d+/],
  "header above the limit": [
    rawSafetensors(`{${" ".repeat(4 * 2 ** 20)}}`),
    /header length 4194306 is above the limit of 4194304/,
  ],
  "header not starting with {": [rawSafetensors(` ${json}`, 36), /does not start with '\{'/],
  "header not UTF-8": [
    rawSafetensors(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)),
    /its header is not UTF-8/,
  ],
  "header not JSON": [rawSafetensors("{"), /its header is not JSON/],
  "header with more after it": [rawSafetensors(`${json}]`, 36), /its header is not JSON/],
  "header nested deep": [
    rawSafetensors(`{"x":${"[".repeat(1e6)}${"]".repeat(1e6)}}`),
    /its header is nested more than 64 levels deep/,
  ],
  "100,000 tensors": [
    rawSafetensors(
      `{${Array.from({ length: 1e5 }, (_, i) => `"${i}":{"dtype":"F16","shape":[]}`).join(",")}}`
        .slice(0, 4 * 2 ** 20),
    ),
    /its header has 300000 keys, above the limit of 80000/,
  ],
  "too many values": [
    rawSafetensors(`{"x":[${"0,".repeat(2e6)}0]}`),
    /its header has 2000002 values, above the limit of 160000/,
  ],
  "duplicate tensors": [
    rawSafetensors(`{"x":${JSON.stringify(entry("F16", [0], [0, 0]))},"x":{}}`),
    /its header has a duplicate key/,
  ],
  "duplicate fields": [
    rawSafetensors('{"x":{"dtype":"F16","dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
    /its header has a duplicate key/,
  ],
  "__proto__ instead of fields": [
    rawSafetensors(`{"x":{"__proto__":${JSON.stringify(entry("F16", [0], [0, 0]))}}}`),
    /tensor 'x' has no dtype/,
  ],
  "__proto__ that is not a tensor": [
    rawSafetensors('{"__proto__":1}'),
    /'__proto__' is not a JSON object/,
  ],
  "metadata that is not strings": [
    rawSafetensors('{"__metadata__":{"a":1}}'),
    /__metadata__ is not a JSON object of strings/,
  ],
  "a tensor that is no object": [single([1], 0), /tensor 'x' is not a JSON object/],
  "no dtype": [single({ shape: [0], data_offsets: [0, 0] }, 0), /tensor 'x' has no dtype/],
  "unknown dtype": [single(entry("F\n17", [0], [0, 0]), 0), /unknown dtype 'F\\u\{a\}17'/],
  "no shape": [single({ dtype: "F16", data_offsets: [0, 0] }, 0), /has the shape 'missing'/],
  "negative shape": [single(entry("F16", [-1, -2], [0, 4]), 4), /has the shape '\[-1,-2\]'/],
  "fractional shape": [single(entry("F16", [1.5], [0, 3]), 3), /has the shape '\[1\.5\]'/],
  "a shape beyond 2^53": [
    rawSafetensors('{"x":{"dtype":"F16","shape":[18446744073709551616],"data_offsets":[0,0]}}'),
    /has the shape/,
  ],
  "nine dimensions": [
    single(entry("F16", Array(9).fill(1), [0, 2]), 2),
    /not an array of up to 8 whole numbers/,
  ],
  "shape that overflows": [
    single(entry("F16", [2 ** 31, 2 ** 31, 4], [0, 0]), 0),
    /has 0 bytes, but its shape and type require 36893488147419103000/,
  ],
  "no offsets": [single({ dtype: "F16", shape: [0] }, 0), /has the data_offsets 'missing'/],
  "three offsets": [
    single({ ...entry("F16", [0], [0, 0]), data_offsets: [0, 0, 0] }, 0),
    /not two/,
  ],
  "reversed offsets": [
    single(entry("F16", [1], [2, 0]), 2),
    /'\[2,0\]', which are reversed or past/,
  ],
  "offsets past the end": [single(entry("F16", [2], [0, 4]), 3), /past the end of the 3 bytes/],
  "offsets unlike the shape": [single(entry("F16", [3], [0, 4]), 4), /has 4 bytes, .* require 6/],
  "overlapping tensors": [two([0, 4], [2, 6], 6), /tensor 'b' at byte \d+ overlaps/],
  "a gap": [two([0, 4], [6, 8], 8), /tensor 'b' at byte \d+ leaves a gap before it/],
  "a gap at the start": [single(entry("F16", [1], [2, 4]), 4), /leaves a gap before it/],
  "data after the last tensor": [
    single(entry("F16", [1], [0, 2]), 3),
    /its tensors end at byte \d+, but the file ends at byte \d+/,
  ],
};

for (const [name, [bytes, says]] of Object.entries(FAULTS)) {
  Deno.test(`openSafetensors() refuses: ${name}`, () => {
    let error: Error | undefined;
    const seconds = cpuSeconds(() => error = refusalOf(bytes));
    assert.ok(seconds < 1, `${seconds} s of CPU time`);
    assert.ok(error instanceof ModelFormatError, String(error));
    assert.match(error.message, says);
  });
}

Deno.test("openSafetensors() names an unsupported type", () => {
  for (const [dtype, quantization] of [["F8_E4M3", "FP8"], ["U8", "MXFP4, NVFP4 or b\\w+"]]) {
    const error = refusalOf(single(entry(dtype!, [4], [0, 4]), 4));
    assert.ok(error instanceof UnsupportedError);
    const says = `tensor 'x' has dtype ${dtype}, which ${quantization} quantization uses; ` +
      `use a version of the model in one of these types: F32, F16, BF16`;
    assert.match(error.message, new RegExp(says));
  }
});

Deno.test("openSafetensors() refuses a file truncated at any length", () => {
  for (let length = 0; length < valid.length; length++) {
    assert.ok(refusalOf(valid.subarray(0, length)) instanceof ModelFormatError, `${length} bytes`);
  }
});

Deno.test("openSafetensors() reads or refuses a file with any bytes changed", () => {
  const change = fc.tuple(fc.nat(valid.length - VALID_DATA_BYTES - 1), fc.nat(255));
  let refused = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const bytes = valid.slice();
      for (const [at, value] of changes) bytes[at] = value;
      if (refusalOf(bytes) !== undefined) refused++;
    }),
    { seed: 1, numRuns: 400 },
  );
  assert.ok(refused > 200, `${refused} of 400 were refused`);
});

const MLX = JSON.stringify({ quantization: { bits: 4, group_size: 32 } });

for (const shape of [[], [0], [8], [2, 0], [1, 1, 1, 2]]) {
  Deno.test(`openSafetensors() refuses a matrix packed by MLX that has the shape [${shape}]`, () => {
    const bytes = shape.reduce((a, b) => a * b, 4);
    const error = refusalOf(single(entry("U32", shape, [0, bytes]), bytes), MLX);
    assert.ok(error instanceof ModelFormatError, String(error));
    assert.match(error.message, /tensor 'x' has the shape '.*', which is not a matrix/);
  });
}

/**
 * Opens a model with these weights. Returns its error, which must be typed and of one line;
 * undefined if there is none.
 */
function refusalOf(weights: Uint8Array, config = "{}"): Error | undefined {
  return withFiles({ "config.json": config, "model.safetensors": weights }, (directory) => {
    try {
      openSafetensors(directory).close();
    } catch (error) {
      assert.ok(
        error instanceof ModelFormatError || error instanceof UnsupportedError,
        `not a refusal: ${error instanceof Error ? error.stack : error}`,
      );
      const path = join(directory, "model.safetensors");
      assert.ok(error.message.startsWith(`Cannot read ${path}: `), error.message);
      assert.doesNotMatch(error.message, /\p{Cc}/u);
      return error;
    }
    return undefined;
  });
}
