// Loads from a KV cache in half precision, eight elements at a time; for GPUs keys lie in columns of eight
// elements (rope_append.wgsl).
@group(0) @binding(3) var<storage, read> keys: array<vec4<u32>>;    // [block, kvHead, 16, HEAD_DIM / 8]
@group(0) @binding(5) var<storage, read> values: array<vec4<u32>>;  // [block, kvHead, 16, HEAD_DIM / 8]

struct Eight { lo: vec4<f32>, hi: vec4<f32> }

fn widen(q: vec4<u32>) -> Eight {
  return Eight(vec4(unpack2x16float(q.x), unpack2x16float(q.y)),
    vec4(unpack2x16float(q.z), unpack2x16float(q.w)));
}

fn load_key(i: u32) -> Eight { return widen(keys[i]); }
fn load_value(i: u32) -> Eight { return widen(values[i]); }
