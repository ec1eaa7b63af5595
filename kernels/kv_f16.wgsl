// Loads from a KV cache in half precision, eight elements at a time. For GPUs, keys are stored in
// columns of eight elements (rope_append.wgsl). kv_read_f16.wgsl or kv_append_f16.wgsl declares the
// cache.
struct Eight { lo: vec4<f32>, hi: vec4<f32> }

fn widen(q: vec4<u32>) -> Eight {
  return Eight(vec4(unpack2x16float(q.x), unpack2x16float(q.y)),
    vec4(unpack2x16float(q.z), unpack2x16float(q.w)));
}

fn load_key(i: u32) -> Eight { return widen(keys[i]); }
fn load_value(i: u32) -> Eight { return widen(values[i]); }
