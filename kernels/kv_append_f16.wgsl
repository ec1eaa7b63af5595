// Declares a KV cache in half precision for kernels that read it (kv_f16.wgsl) and append to it.
@group(0) @binding(3) var<storage, read_write> keys: array<vec4<u32>>;    // [block, kvHead, HEAD_DIM / 8, 16]
@group(0) @binding(5) var<storage, read_write> values: array<vec4<u32>>;  // [block, kvHead, 16, HEAD_DIM / 8]

fn narrow(e: Eight) -> vec4<u32> {
  return vec4(pack2x16float(e.lo.xy), pack2x16float(e.lo.zw), pack2x16float(e.hi.xy), pack2x16float(e.hi.zw));
}

fn append_key(i: u32, key: Eight) { keys[i] = narrow(key); }
fn append_value(i: u32, value: Eight) { values[i] = narrow(value); }
