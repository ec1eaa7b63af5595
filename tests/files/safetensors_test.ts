/** openSafetensors() reads a directory in Hugging Face's layout, with one weight file or shards. */

import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { ModelFormatError, ModelNotFoundError } from "../../engine/errors.ts";
import { openSafetensors } from "../../engine/files/safetensors.ts";
import { withFiles } from "./on_disk.ts";
import { entry, rawSafetensors, single, validSafetensors } from "./raw_safetensors.ts";

const CONFIG = '{"model_type":"llama","auto_map":{"AutoModel":"code.py"},"eos_token_id":[1,2]}';
const INDEX = "model.safetensors.index.json";
const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;

Deno.test("openSafetensors() reads config, metadata, tensors and their bytes", () => {
  const files = { "config.json": CONFIG, "model.safetensors": validSafetensors() };
  withFiles(files, (directory) => {
    const model = openSafetensors(directory);
    assert.equal(model.format, "safetensors");
    assert.deepEqual(model.config, JSON.parse(CONFIG));
    assert.deepEqual([...model.metadata], [
      ["general.name", basename(directory)],
      ["general.architecture", "llama"],
      ["model_type", "llama"],
      ["auto_map.AutoModel", "code.py"],
      ["eos_token_id", [1, 2]],
    ]);
    assert.deepEqual(model.paths, [join(directory, "model.safetensors")]);
    const start = validSafetensors().length - 36;
    assert.deepEqual(model.tensors.get("a.weight"), {
      name: "a.weight",
      type: "F32",
      shape: [2, 3],
      file: 0,
      byteOffset: start,
      byteLength: 24,
    });
    assert.deepEqual(model.tensors.get("scalar")!.shape, []);
    assert.equal(model.tensors.get("scalar")!.byteLength, 2);
    assert.equal(model.tensors.get("empty")!.byteLength, 0);
    const into = new Uint8Array(8);
    model.read(model.tensors.get("b.weight")!, 0, into);
    assert.deepEqual([...into], [24, 25, 26, 27, 28, 29, 30, 31]);
    assert.throws(() => model.read(model.tensors.get("b.weight")!, 1, into), RangeError);
    model.close();
  });
});

/** Runs `use` on a model in two shards. `files` replaces some files, or omits those undefined. */
function withShards(
  files: Readonly<Record<string, Uint8Array | string | undefined>>,
  use: (directory: string) => void,
): void {
  const all: Record<string, Uint8Array | string | undefined> = {
    "config.json": CONFIG,
    [INDEX]: JSON.stringify({ weight_map: { x: SHARDS[0], y: SHARDS[1] } }),
    [SHARDS[0]]: single(entry("F16", [2], [0, 4]), 4),
    [SHARDS[1]]: rawSafetensors(JSON.stringify({ y: entry("F32", [1], [0, 4]) }), 4),
    ...files,
  };
  const present = Object.entries(all).flatMap(([name, content]) =>
    content === undefined ? [] : [[name, content] as const]
  );
  withFiles(Object.fromEntries(present), use);
}

Deno.test("openSafetensors() reads the shards that the index lists", () => {
  withShards({}, (directory) => {
    const model = openSafetensors(directory);
    assert.deepEqual(model.paths, SHARDS.map((name) => join(directory, name)));
    assert.equal(model.tensors.get("x")!.file, 0);
    assert.equal(model.tensors.get("y")!.file, 1);
    const into = new Uint8Array(4);
    model.read(model.tensors.get("y")!, 0, into);
    assert.deepEqual([...into], [0, 1, 2, 3]);
    model.close();
  });
});

Deno.test("openSafetensors() finds weights under MLX's early file names", () => {
  const x = single(entry("F16", [2], [0, 4]), 4);
  const y = rawSafetensors(JSON.stringify({ y: entry("F32", [1], [0, 4]) }), 4);
  const tensors = (files: Readonly<Record<string, Uint8Array>>) =>
    withFiles({ "config.json": CONFIG, ...files }, (directory) => {
      const model = openSafetensors(directory);
      model.close();
      return [...model.tensors.keys()];
    });
  assert.deepEqual(tensors({ "weights.safetensors": x }), ["x"]);
  assert.deepEqual(tensors({ "weights.00.safetensors": x, "weights.01.safetensors": y }), [
    "x",
    "y",
  ]);
  assert.deepEqual(tensors({ "model.safetensors": y, "weights.00.safetensors": x }), ["y"]);
});

Deno.test("openSafetensors() names the missing file", () => {
  const missing = (files: Readonly<Record<string, undefined>>, name: string) =>
    withShards(files, (directory) => {
      assert.throws(() => openSafetensors(directory), (error) => {
        assert.ok(error instanceof ModelNotFoundError, String(error));
        assert.ok(
          error.message.startsWith(`Cannot open ${join(directory, name)}: `),
          error.message,
        );
        return true;
      });
    });
  missing({ "config.json": undefined }, "config.json");
  missing({ [SHARDS[1]]: undefined }, SHARDS[1]);
  missing({ [INDEX]: undefined }, "model.safetensors");
  withFiles({}, (directory) => {
    assert.throws(() => openSafetensors(join(directory, "none")), ModelNotFoundError);
  });
});

const indexOf = (shard: unknown) => JSON.stringify({ weight_map: { x: shard } });

const INDEX_FAULTS: Readonly<Record<string, readonly [string | Uint8Array, RegExp]>> = {
  "a shard name outside the directory": [
    indexOf("../x.safetensors"),
    /'x' is in '\.\.\/x\.safetensors', w/,
  ],
  "a Windows shard name outside it": [indexOf("..\\x.safetensors"), /which is not the name of/],
  "an absolute shard name": [indexOf("/etc/x.safetensors"), /which is not the name of/],
  "a drive's shard name": [indexOf("C:x.safetensors"), /which is not the name of/],
  "a shard of another kind": [
    indexOf("pytorch_model.bin"),
    /which is not the name of a \.safetensors/,
  ],
  "a shard name that is not text": [indexOf(7), /'x' is in '7', which/],
  "no weight_map": ["{}", /it has no weight_map/],
  "an empty weight_map": ['{"weight_map":{}}', /it lists 0 shards, not 1 to 1024/],
  "too many shards": [
    JSON.stringify({
      weight_map: Object.fromEntries(
        Array.from({ length: 1025 }, (_, i) => [`t${i}`, `${i}.safetensors`]),
      ),
    }),
    /it lists 1025 shards/,
  ],
  "a tensor that is in another shard": [
    JSON.stringify({ weight_map: { x: SHARDS[1], y: SHARDS[1] } }),
    /00002-of-00002\.safetensors: tensor 'x' is missing, although/,
  ],
  "a tensor listed twice": [
    '{"weight_map":{"x":"a.safetensors","x":"b.safetensors"}}',
    /duplicate key/,
  ],
  "more keys than the tensor limit": [
    `{"weight_map":{${Array.from({ length: 1e5 }, (_, i) => `"${i}":0`)}}}`,
    /it has 100001 keys, above the limit of 65536/,
  ],
  "text that is not JSON": ["weight_map:", /it is not JSON/],
  "a list": ["[]", /it is not a JSON object/],
  "not UTF-8": [Uint8Array.of(0x7b, 0xff, 0x7d), /it is not UTF-8/],
  "too long": [`{${" ".repeat(8 * 2 ** 20)}}`, /it has 8388610 bytes, above the limit of 8388608/],
};

for (const [name, [index, says]] of Object.entries(INDEX_FAULTS)) {
  Deno.test(`openSafetensors() refuses an index with: ${name}`, () => {
    withShards({ [INDEX]: index }, (directory) => assertDamaged(directory, says));
  });
}

Deno.test("openSafetensors() refuses a tensor that is in two shards", () => {
  const both = rawSafetensors(
    JSON.stringify({ x: entry("F32", [1], [0, 4]), y: entry("F32", [1], [4, 8]) }),
    8,
  );
  withShards({ [SHARDS[1]]: both }, (directory) => {
    assertDamaged(directory, /tensor 'x' is also in .*00001-of-00002\.safetensors/);
  });
});

Deno.test("openSafetensors() refuses a config.json that is huge, deeply nested or not an object", () => {
  for (
    const [config, says] of [
      [`{"a":"${"x".repeat(2 ** 20)}"}`, /config\.json: it has \d+ bytes, above the limit/],
      [
        `{"a":${"[".repeat(65)}${"]".repeat(65)}}`,
        /config\.json: it is nested more than 64 levels deep/,
      ],
      ["null", /config\.json: it is not a JSON object/],
      ["", /config\.json: it is not JSON/],
      ['{"a":1,"a":1}', /config\.json: it has a duplicate key/],
    ] as const
  ) {
    withShards({ "config.json": config }, (directory) => assertDamaged(directory, says));
  }
});

function assertDamaged(directory: string, says: RegExp): void {
  assert.throws(() => openSafetensors(directory), (error) => {
    assert.ok(error instanceof ModelFormatError, String(error));
    assert.match(error.message, /^Cannot read /);
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    assert.match(error.message, says);
    return true;
  });
}

Deno.test("openSafetensors() refuses configs and a tokenizer.json with too many values", () => {
  const many = (count: number) => `{"a":[${"{},".repeat(count)}{}]}`;
  const limits = {
    "config.json": [many(1e5), /200003 values, above the limit of 65536/],
    "tokenizer_config.json": [many(1e5), /200003 values, above the limit of 65536/],
    "tokenizer.json": [many(1.5e6), /3000003 values, above the limit of 2500000/],
  } as const;
  for (const [name, [text, says]] of Object.entries(limits)) {
    withFiles(
      { "config.json": "{}", "model.safetensors": validSafetensors(), [name]: text },
      (directory) => {
        assert.throws(() => openSafetensors(directory).readTokenizer(), (error) => {
          assert.ok(error instanceof ModelFormatError, String(error));
          assert.ok(error.message.startsWith(`Cannot read ${join(directory, name)}: `));
          assert.match(error.message, says);
          return true;
        });
      },
    );
  }
});

Deno.test("openSafetensors() omits metadata within an object that has a huge name", () => {
  const config = JSON.stringify({ a: { b: { c: 1 } }, ["k".repeat(1e5)]: { d: 1 } });
  withFiles({ "config.json": config, "model.safetensors": validSafetensors() }, (directory) => {
    const model = openSafetensors(directory);
    assert.deepEqual([...model.metadata.keys()], ["general.name", "a.b.c"]);
    model.close();
  });
});
