// Stores to a KV cache in half precision, two elements per word, by pack2x16float, which needs no
// device feature. With COLUMNS, keys are [block, kvHead, HEAD_DIM / 8, 16, 4].
@group(0) @binding(2) var<storage, read_write> keys: array<u32>;    // [block, kvHead, 16, HEAD_DIM / 2]
@group(0) @binding(3) var<storage, read_write> values: array<u32>;  // [block, kvHead, 16, HEAD_DIM / 2]

fn store_key(i: u32, pair: vec2<f32>) { keys[i] = pack2x16float(pair); }
fn store_value(i: u32, pair: vec2<f32>) { values[i] = pack2x16float(pair); }
