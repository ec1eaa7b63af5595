/** Metadata of experts, in GGUF and in config.json, and experts in separate tensors. */

import assert from "node:assert/strict";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import type { GgufTensorData } from "../../engine/files/gguf_writer.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { tinyMlx } from "../../fixtures/tiny_mlx.ts";
import { ggufBytes, type GgufParts, tinyParts } from "../../fixtures/tiny_models.ts";
import {
  type ModelDirectory,
  safetensorsBytes,
  tinySafetensors,
  weightFiles,
} from "../../fixtures/tiny_safetensors.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { type Change, configOf, float, uint, without } from "./tiny_config.ts";

const own = (rest: string, value: ReturnType<typeof uint> | null): Change => ({ metadata }) => {
  if (value === null) metadata.delete(`qwen3moe.${rest}`);
  else metadata.set(`qwen3moe.${rest}`, value);
};

function expertsOf({ layers }: ModelConfig) {
  const { feedForward } = layers[0]!;
  return feedForward?.kind === "experts" ? feedForward : undefined;
}

Deno.test("configFromGguf() reads experts, whose weights are normalized by default", () => {
  const experts = {
    kind: "experts",
    count: 8,
    used: 2,
    width: 64,
    normalized: true,
    activation: "silu",
  };
  assert.deepEqual(expertsOf(configOf("qwen3moe")), experts);
  const not = own("expert_weights_norm", { type: "bool", value: false });
  assert.deepEqual(expertsOf(configOf("qwen3moe", not)), { ...experts, normalized: false });
  assert.equal(expertsOf(configOf("qwen3")), undefined);
});

type Refusal = typeof ModelFormatError | typeof UnsupportedError;

const GGUF_FAULTS: Record<string, readonly [Change, RegExp, Refusal]> = {
  "no number of experts": [own("expert_count", null), /expert_count' is missing/, ModelFormatError],
  "no experts": [own("expert_count", uint(0)), /expert_count' is 0, not/, ModelFormatError],
  "2^31 experts": [own("expert_count", uint(2 ** 31)), /from 1 to 1024/, ModelFormatError],
  "more experts used than present": [
    own("expert_used_count", uint(9)),
    /expert_used_count' is 9, not a whole number from 1 to 8/,
    ModelFormatError,
  ],
  "another number of experts": [
    own("expert_count", uint(7)),
    /'blk\.0\.ffn_gate_inp\.weight' has the shape 8 × 128, but the metadata require 7 × 128/,
    ModelFormatError,
  ],
  "no router": [
    without("blk.1.ffn_gate_inp.weight"),
    /'blk\.1\.ffn_gate_inp\.weight' is missing/,
    ModelFormatError,
  ],
  "sigmoid gates": [own("expert_gating_func", uint(2)), /gating_func' is 2/, UnsupportedError],
  "scaled weights": [own("expert_weights_scale", float(2.5)), /is 2\.5; use/, UnsupportedError],
};

for (const [name, [change, says, kind]] of Object.entries(GGUF_FAULTS)) {
  Deno.test(`configFromGguf() refuses faulty experts: ${name}`, () => {
    assert.throws(() => configOf("qwen3moe", change), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, says);
      return true;
    });
  });
}

Deno.test("readModel() splits a GGUF tensor that has experts' gates and ups", () => {
  const contents = (change: Change) => {
    const parts = tinyParts("qwen3moe", "Q4_0");
    change(parts);
    return withFile("m.gguf", ggufBytes(parts), (path) => {
      const file = openModelFile(path);
      const { config, weights } = readModel(file);
      const bytes = Array.from(weights.tensors, ([name, tensor]) => {
        const into = new Uint8Array(tensor.byteLength);
        weights.read(tensor, 0, into);
        return [name, tensor.shape, into.toHex()] as const;
      });
      file.close();
      return { config, bytes };
    });
  };
  const fused = ({ tensors }: GgufParts) => {
    for (const layer of [0, 1]) {
      const [gates, ups] = ["gate", "up"].map((kind) => {
        const at = tensors.findIndex(({ name }) => name === `blk.${layer}.ffn_${kind}_exps.weight`);
        return tensors.splice(at, 1)[0]!;
      });
      const [count, rows, columns] = gates!.shape as [number, number, number];
      const bytesOf = ({ data }: GgufTensorData) =>
        Uint8Array.from([...data()].flatMap((p) => [...p]));
      const [a, b] = [bytesOf(gates!), bytesOf(ups!)];
      tensors.push({
        ...gates!,
        name: `blk.${layer}.ffn_gate_up_exps.weight`,
        shape: [count, 2 * rows, columns],
        *data() {
          const size = a.length / count;
          for (let at = 0; at < a.length; at += size) {
            yield a.subarray(at, at + size);
            yield b.subarray(at, at + size);
          }
        },
      });
    }
  };
  assert.deepEqual(contents(fused), contents(() => {}));
});

function read(files: ModelDirectory) {
  return withFiles(files, (directory) => {
    const file = openModelFile(directory);
    try {
      const { config, weights } = readModel(file);
      const hex = new Map(Array.from(weights.tensors, ([name, tensor]) => {
        const whole = new Uint8Array(tensor.byteLength);
        weights.read(tensor, 0, whole);
        return [name, whole.toHex()];
      }));
      return { config, weights, hex };
    } finally {
      file.close();
    }
  });
}

function changed(values: Record<string, unknown>): ModelDirectory {
  const files = tinySafetensors("qwen3moe", "BF16");
  const config = JSON.parse(files["config.json"] as string);
  return { ...files, "config.json": JSON.stringify({ ...config, ...values }) };
}

Deno.test("readModel() reads experts from config.json", () => {
  const { config } = read(changed({ norm_topk_prob: true, mlp_only_layers: [] }));
  assert.equal(config.architecture, "qwen3moe");
  const { count, used, width, normalized } = expertsOf(config)!;
  assert.deepEqual({ count, used, width, normalized }, {
    count: 8,
    used: 2,
    width: 64,
    normalized: true,
  });
  assert.equal(expertsOf(read(changed({ norm_topk_prob: undefined })).config)!.normalized, false);
  for (const dense of [{ mlp_only_layers: [1] }, { decoder_sparse_step: 2 }]) {
    assert.throws(() => read(changed(dense)), (error) => {
      assert.ok(error instanceof UnsupportedError);
      assert.match(error.message, /only some layers have experts; use a model/);
      return true;
    });
  }
});

Deno.test("readModel() stacks experts in separate tensors, from any shards, as GGUF does", () => {
  const one = read(tinySafetensors("qwen3moe", "BF16"));
  const sharded = read(tinySafetensors("qwen3moe", "BF16", 3));
  for (const [name, hex] of one.hex) assert.ok(sharded.hex.get(name) === hex, name);
  const { tensors } = one.weights;
  assert.deepEqual(tensors.get("blk.1.ffn_gate_exps.weight")!.shape, [8, 64, 128]);
  assert.deepEqual(tensors.get("blk.1.ffn_down_exps.weight")!.shape, [8, 128, 64]);
  const gguf = tinyParts("qwen3moe", "BF16").tensors;
  for (const name of ["blk.0.ffn_up_exps.weight", "blk.1.ffn_down_exps.weight"]) {
    const parts = [...gguf.find((tensor) => tensor.name === name)!.data()];
    assert.ok(one.hex.get(name) === parts.map((part) => part.toHex()).join(""), name);
  }
});

Deno.test("readModel() reads experts that mlx-lm has stacked", () => {
  const { weights } = read(tinyMlx(["qwen3moe", 4, 64, "BF16"]));
  const { type, shape } = weights.tensors.get("blk.1.ffn_gate_exps.weight")!;
  assert.deepEqual([type, shape], ["MLX4_64", [8, 64, 128]]);
});

Deno.test("readModel() refuses experts if one is missing or has another shape", () => {
  const matrix = (expert: number, rows: number) => ({
    name: `model.layers.0.mlp.experts.${expert}.up_proj.weight`,
    type: "BF16" as const,
    shape: [rows, 32],
    data: () => [new Uint8Array(rows * 64)],
  });
  const faults = [
    [[matrix(0, 4), matrix(2, 4)], /expert 1 of the 3 in '.*' is missing/],
    [[matrix(0, 4), matrix(1, 8)], /expert 1 of the 2 in '.*' does not match the others/],
  ] as const;
  for (const [tensors, says] of faults) {
    const files = { ...changed({}), "model.safetensors": safetensorsBytes(tensors) };
    assert.throws(() => read(files), (error) => {
      assert.ok(error instanceof ModelFormatError);
      assert.match(error.message, says);
      return true;
    });
  }
  const few = { ...changed({ num_experts: 9 }), ...weightFiles([], 1) };
  assert.throws(() => read(few), ModelFormatError);
  assert.throws(() => read(changed({ num_experts: 9 })), /has the shape 8 × 128/);
});
