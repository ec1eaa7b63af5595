// Stores to a KV cache in float32. With COLUMNS, keys are [block, kvHead, HEAD_DIM / 8, 16, 4].
@group(0) @binding(2) var<storage, read_write> keys: array<vec2<f32>>;  // [block, kvHead, 16, HEAD_DIM / 2]
@group(0) @binding(3) var<storage, read_write> values: array<vec2<f32>>;  // [block, kvHead, 16, HEAD_DIM / 2]

fn store_key(i: u32, pair: vec2<f32>) { keys[i] = pair; }
fn store_value(i: u32, pair: vec2<f32>) { values[i] = pair; }
