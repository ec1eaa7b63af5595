// Shared by all matrix products: y[token, row] (+)= W[row, :] · x[token, :] (+ bias[row]).
//
// NORM: x is the residual stream, and the kernel applies RMSNorm: it multiplies each activation by
// the weight of the norm, and each result by the scale of the norm. GATE: rows of the gate and of
// the up matrix alternate, and y is act(gate)·up. GATED: rows are those of the up matrix, and y
// already contains the gates. act is silu or GELU. one_matrix.wgsl, experts.wgsl or
// grouped_experts.wgsl select the matrix of each token.
const ACCUMULATE = 1u;  // add to y (a residual stream) instead of overwriting it
const BIAS = 2u;
const NORM = 4u;
const GATE = 8u;
const GATED = 16u;
const GATHER = 32u;     // the tokens are only those that the metadata lists
const PER_SLOT = 64u;   // x has a row for each of a token's slots (experts.wgsl), not for each token
const GELU = 128u;      // act is the tanh approximation of GELU
const ELSEWHERE = 0xffffffffu;

@group(0) @binding(4) var<storage, read_write> y: array<f32>;            // [token, y_stride]
@group(0) @binding(5) var<storage, read> bias: array<f32>;               // by row
@group(0) @binding(6) var<storage, read> batch: array<u32>;

fn has(flag: u32) -> bool { return (shape.flags & flag) != 0u; }

// v·sigmoid(v) is silu; GELU by tanh is v·sigmoid(2u), u = √(2/π)·(v + 0.044715·v³).
fn act(v: f32) -> f32 {
  let u = select(v, 1.5957691216057308 * (v + 0.044715 * v * v * v), has(GELU));
  return v / (1.0 + exp(-u));
}

fn write(token: u32, group: u32, sum: vec4<f32>) {
  let base = token * shape.y_stride + shape.y_offset;
  if (has(GATE)) {
    y[base + group * 2u] = act(sum.x) * sum.y;
    y[base + group * 2u + 1u] = act(sum.z) * sum.w;
    return;
  }
  for (var r = 0u; r < 4u; r++) {
    let row = group * 4u + r;
    if (row < shape.rows) {
      var value = sum[r];
      if (has(BIAS)) { value += bias[shape.bias_offset + row]; }
      if (has(ACCUMULATE)) { value += y[base + row]; }
      if (has(GATED)) { value *= act(y[base + row]); }
      y[base + row] = value;
    }
  }
}
