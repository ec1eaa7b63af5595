// Declares a KV cache in float32 for kernels that only read it (kv_f32.wgsl).
// For GPUs, keys are [block, kvHead, HEAD_DIM / 8, 16, 2].
@group(0) @binding(3) var<storage, read> keys: array<vec4<f32>>;    // [block, kvHead, 16, HEAD_DIM / 4]
@group(0) @binding(5) var<storage, read> values: array<vec4<f32>>;  // [block, kvHead, 16, HEAD_DIM / 4]
