// Declares a KV cache in half precision for kernels that only read it (kv_f16.wgsl).
// For GPUs, keys are [block, kvHead, HEAD_DIM / 8, 16].
@group(0) @binding(3) var<storage, read> keys: array<vec4<u32>>;    // [block, kvHead, 16, HEAD_DIM / 8]
@group(0) @binding(5) var<storage, read> values: array<vec4<u32>>;  // [block, kvHead, 16, HEAD_DIM / 8]
