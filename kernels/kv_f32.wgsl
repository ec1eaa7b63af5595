// Loads from a KV cache in float32, eight elements at a time. For GPUs, keys are stored in columns
// of eight elements (rope_append.wgsl). kv_read_f32.wgsl or kv_append_f32.wgsl declares the cache.
struct Eight { lo: vec4<f32>, hi: vec4<f32> }

fn load_key(i: u32) -> Eight { return Eight(keys[i * 2u], keys[i * 2u + 1u]); }
fn load_value(i: u32) -> Eight { return Eight(values[i * 2u], values[i * 2u + 1u]); }
