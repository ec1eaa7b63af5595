// Declares a KV cache in float32 for kernels that read it (kv_f32.wgsl) and append to it.
@group(0) @binding(3) var<storage, read_write> keys: array<vec4<f32>>;    // [block, kvHead, HEAD_DIM / 8, 16, 2]
@group(0) @binding(5) var<storage, read_write> values: array<vec4<f32>>;  // [block, kvHead, 16, HEAD_DIM / 4]

fn append_key(i: u32, key: Eight) {
  keys[i * 2u] = key.lo;
  keys[i * 2u + 1u] = key.hi;
}

fn append_value(i: u32, value: Eight) {
  values[i * 2u] = value.lo;
  values[i * 2u + 1u] = value.hi;
}
