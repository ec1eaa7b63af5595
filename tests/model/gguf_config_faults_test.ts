/** configFromGguf() refuses wrong metadata, and tensors that contradict the metadata. */

import assert from "node:assert/strict";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { type Change, configOf, float, keys, text, uint, without, zeros } from "./tiny_config.ts";

const LIES: Readonly<Record<string, readonly [Change, RegExp]>> = {
  "no architecture": [
    keys({ "general:architecture": null }),
    /architecture' is missing, not a str/,
  ],
  "block_count missing": [keys({ block_count: null }), /'llama\.block_count' is missing/],
  "block_count 0": [keys({ block_count: uint(0) }), /'llama\.block_count' is 0, not a whole/],
  "block_count 10^9": [
    keys({ block_count: uint(1e9) }),
    /is 1000000000, not a whole number from 1/,
  ],
  "fractional block_count": [keys({ block_count: float(1.5) }), /is 1\.5, not a whole/],
  "block_count as text": [keys({ block_count: text("2\n") }), /is '2\\u\{a\}', not a whole/],
  "block_count above the layers": [
    keys({ block_count: uint(3) }),
    /'blk\.2\.attn_norm\.weight' is m/,
  ],
  "dim 0": [keys({ embedding_length: uint(0) }), /'llama\.embedding_length' is 0/],
  "another dim": [
    keys({ embedding_length: uint(192) }),
    /'token_embd\.weight' has the shape 294 × 96/,
  ],
  "head_count 0": [
    keys({ "attention.head_count": uint(0) }),
    /'llama\.attention\.head_count' is 0/,
  ],
  "head_count_kv 0": [keys({ "attention.head_count_kv": uint(0) }), /head_count_kv' is 0/],
  "head_count_kv not dividing": [
    keys({ "attention.head_count_kv": uint(4) }),
    /head_count_kv' is 4, which does not divide the 6 heads/,
  ],
  "heads not dividing dim": [
    keys({
      "attention.head_count": uint(5),
      "attention.head_count_kv": uint(5),
      "attention.key_length": null,
    }),
    /embedding_length' is 96, not a multiple of the 5 heads/,
  ],
  "odd head size": [
    keys({
      "attention.head_count": uint(32),
      "attention.key_length": null,
      "attention.value_length": null,
      "rope.dimension_count": null,
    }),
    /the head size is 3, but RoPE needs an even one/,
  ],
  "another head size": [
    keys({ "attention.key_length": uint(32), "attention.value_length": uint(32) }),
    /'blk\.0\.attn_q\.weight' has the shape 96 × 96, but the metadata require 192 × 96/,
  ],
  "odd rope.dimension_count": [keys({ "rope.dimension_count": uint(15) }), /is 15, which is odd/],
  "rope.dimension_count above the head": [keys({ "rope.dimension_count": uint(18) }), /is 18, not/],
  "context_length 0": [keys({ context_length: uint(0) }), /'llama\.context_length' is 0/],
  "context_length 2^32": [
    keys({ context_length: { type: "uint64", value: 2n ** 32n } }),
    /'llama\.context_length' is 4294967296, not a whole number from 1 to 134217728/,
  ],
  "context_length 2^64-1": [
    keys({ context_length: { type: "uint64", value: 2n ** 64n - 1n } }),
    /'llama\.context_length' is 18446744073709551615, not/,
  ],
  "context_length negative": [
    keys({ context_length: { type: "int32", value: -1 } }),
    /'llama\.context_length' is -1, not/,
  ],
  "RoPE base NaN": [keys({ "rope.freq_base": float(NaN) }), /'llama\.rope\.freq_base' is NaN/],
  "RoPE base 0": [keys({ "rope.freq_base": float(0) }), /'llama\.rope\.freq_base' is 0/],
  "RoPE base infinite": [keys({ "rope.freq_base": float(Infinity) }), /freq_base' is Infinity/],
  "epsilon NaN": [keys({ "attention.layer_norm_rms_epsilon": float(NaN) }), /rms_epsilon' is NaN/],
  "epsilon 0": [keys({ "attention.layer_norm_rms_epsilon": float(0) }), /rms_epsilon' is 0/],
  "epsilon missing": [
    keys({ "attention.layer_norm_rms_epsilon": null }),
    /rms_epsilon' is missing/,
  ],
  "scaling factor below 0": [
    keys({ "rope.scaling.type": text("linear"), "rope.scaling.factor": float(-1) }),
    /'llama\.rope\.scaling\.factor' is -1/,
  ],
  "vocab_size unlike the embedding, without a list of tokens": [
    keys({ vocab_size: uint(300), "tokenizer:ggml.tokens": null }),
    /'llama\.vocab_size' specifies 300 tokens, but the embedding has 294 rows/,
  ],
  "token list unlike the embedding": [
    keys({ "tokenizer:ggml.tokens": { type: "array", of: "string", value: ["a"] } }),
    /'tokenizer\.ggml\.tokens' specifies 1 token, but the embedding has 294 rows/,
  ],
  "token list no array": [keys({ "tokenizer:ggml.tokens": uint(1) }), /tokens' is 1, not an array/],
  "no embedding": [without("token_embd.weight"), /tensor 'token_embd\.weight' is missing/],
  "no norm": [without("blk.1.ffn_norm.weight"), /tensor 'blk\.1\.ffn_norm\.weight' is missing/],
  "no output norm": [without("output_norm.weight"), /tensor 'output_norm\.weight' is missing/],
  "bias of one layer only": [
    ({ tensors }) => {
      tensors.push(zeros("blk.0.attn_q.bias", [96], "F32"));
    },
    /tensor 'blk\.0\.attn_k\.bias' is missing/,
  ],
  "a matrix of three dimensions": [
    ({ tensors }) => {
      const i = tensors.findIndex(({ name }) => name === "output.weight");
      tensors[i] = { ...tensors[i]!, shape: [2, 147, 96] };
    },
    /'output\.weight' has the shape 2 × 147 × 96, but the metadata require 294 × 96/,
  ],
  "experts used without any": [keys({ expert_used_count: uint(4) }), /expert_used_count' is 4/],
};

for (const [name, [change, says]] of Object.entries(LIES)) {
  Deno.test(`configFromGguf() refuses: ${name}`, () =>
    assertRefusal(change, ModelFormatError, says));
}

const UNSUPPORTED: Readonly<Record<string, readonly [Change, RegExp]>> = {
  "another architecture": [
    keys({ "general:architecture": text("mamba") }),
    /architecture 'mamba' is not supported; the supported ones are llama, qwen2, qwen3/,
  ],
  "experts": [keys({ expert_count: uint(8) }), /llama models with experts are not supported/],
  "a LoRA adapter": [
    keys({ "general:type": text("adapter") }),
    /it is a LoRA adapter for another model, not a language model/,
  ],
  "a projector": [
    keys({ "general:architecture": text("clip") }),
    /it is an image or audio projector \(mmproj\) for another model/,
  ],
  "RoPE of part of a head": [
    keys({ "rope.dimension_count": uint(8) }),
    /'llama\.rope\.dimension_count' is 8, but a head has 16 dimensions/,
  ],
  "values unlike keys": [
    keys({ "attention.value_length": uint(8) }),
    /its values have 8 dimensions/,
  ],
  "keys of another length than a head's, values unstated": [
    keys({ "attention.key_length": uint(32), "attention.value_length": null }),
    /its values have 16 dimensions, but its keys have 32/,
  ],
  "another RoPE scaling": [keys({ "rope.scaling.type": text("longrope") }), /scaling 'longrope'/],
  "attention that sees later tokens": [
    keys({ "attention.causal": { type: "bool", value: false } }),
    /key 'llama\.attention\.causal' is 'false'; use a model without it/,
  ],
  "another scale of attention": [keys({ "attention.scale": float(0.5) }), /attention\.scale' is/],
  "scaled logits": [keys({ logit_scale: float(8) }), /key 'llama\.logit_scale' is '8'/],
  "a factor of attention without YaRN": [
    keys({ "rope.scaling.attn_factor": float(2) }),
    /'llama\.rope\.scaling\.attn_factor' is 2 without YaRN/,
  ],
  "a key of another type than its value has": [keys({ residual_scale: text("1") }), /is '1'/],
  "a tensor that is not used": [
    ({ tensors }) => {
      tensors.push(zeros("blk.0.attn_sinks.weight", [96], "F32"));
    },
    /does not support the tensor 'blk\.0\.attn_sinks\.weight' in llama/,
  ],
  "a vector in blocks": [
    ({ tensors }) => {
      const i = tensors.findIndex(({ name }) => name === "output_norm.weight");
      tensors[i] = zeros("output_norm.weight", [96], "Q8_0");
    },
    /tensor 'output_norm\.weight' is a vector of type Q8_0/,
  ],
};

for (const [name, [change, says]] of Object.entries(UNSUPPORTED)) {
  Deno.test(`configFromGguf() refuses as unsupported: ${name}`, () => {
    assertRefusal(change, UnsupportedError, says);
  });
}

function assertRefusal(
  change: Change,
  kind: typeof ModelFormatError | typeof UnsupportedError,
  says: RegExp,
): void {
  assert.throws(() => configOf("llama", change), (error) => {
    assert.ok(error instanceof kind, error instanceof Error ? error.stack : String(error));
    assert.match(error.message, /^Cannot (use|run) .*tiny\.gguf: /);
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    assert.match(error.message, says);
    return true;
  });
}
