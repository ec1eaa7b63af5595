@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;            // [token, spans, 8]
@group(0) @binding(3) var<storage, read> norm_weight: array<vec4<f32>>;  // [spans, 8]
