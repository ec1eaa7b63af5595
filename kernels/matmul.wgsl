// y[token, row] (+)= W[row, :] · x[token, :] (+ bias[row]).
// An invocation owns GROUPS groups of four rows and TOKENS tokens, so each weight that it reads
// serves TOKENS tokens and each activation 4·GROUPS rows. SPLIT invocations share the blocks of
// a row and add their parts in a fixed order, whatever the number of tokens: a token's result
// does not depend on the batch that it is in.
//
// NORM: x is the residual stream, and RMSNorm is done on the way: its weight is multiplied in, its
// scale, a factor of the whole row, at the end. GATE: gates and ups alternate row by row, and y is
// act(gate)·up. GATED: rows are ups, their gates are in y already. act is silu, or GELU.
// Which matrix a token is multiplied with, one_matrix.wgsl, experts.wgsl or grouped_experts.wgsl say.
override LANES: u32;  // row-group owners per workgroup
override SPLIT: u32;  // invocations along a row

const ACCUMULATE = 1u;  // add to y (a residual stream) instead of overwriting it
const BIAS = 2u;
const NORM = 4u;
const GATE = 8u;
const GATED = 16u;
const GATHER = 32u;     // the tokens are those that the metadata lists
const PER_SLOT = 64u;   // x has a row for each of a token's slots (experts.wgsl), not for each token
const GELU = 128u;      // act is the tanh approximation of GELU
const ELSEWHERE = 0xffffffffu;

@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;            // [token, blocks, 8]
@group(0) @binding(3) var<storage, read> norm_weight: array<vec4<f32>>;  // [blocks, 8]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;            // [token, y_stride]
@group(0) @binding(5) var<storage, read> bias: array<f32>;               // by row
@group(0) @binding(6) var<storage, read> batch: array<u32>;

var<workgroup> parts: array<vec4<f32>, LANES * SPLIT>;

fn has(flag: u32) -> bool { return (shape.flags & flag) != 0u; }

// Four rows of one block times TOKENS tokens.
fn dot_block(unit: u32, part: u32, scales: Scales, xs: array<Block, TOKENS>)
  -> array<vec4<f32>, TOKENS> {
  var result: array<vec4<f32>, TOKENS>;
  for (var r = 0u; r < 4u; r++) {
    let row = load_row(unit, r, part, scales);
    for (var t = 0u; t < TOKENS; t++) {
      var lo = row.w[0] * xs[t].x[0];
      var hi = row.w[4] * xs[t].x[4];
      for (var i = 1u; i < 4u; i++) {
        lo = fma(row.w[i], xs[t].x[i], lo);
        hi = fma(row.w[i + 4u], xs[t].x[i + 4u], hi);
      }
      if (ONE_SCALE) {
        lo += hi;
        result[t][r] = row.scale.x * ((lo.x + lo.y) + (lo.z + lo.w));
        if (OFFSET) { result[t][r] += row.offset.x * (xs[t].sums.x + xs[t].sums.y); }
      } else {
        result[t][r] = row.scale.x * ((lo.x + lo.y) + (lo.z + lo.w)) +
          row.scale.y * ((hi.x + hi.y) + (hi.z + hi.w));
        if (OFFSET) { result[t][r] += dot(row.offset, xs[t].sums); }
      }
    }
  }
  return result;
}

// The sum over the SPLIT invocations of a row.
fn total_of(value: vec4<f32>, local: vec3<u32>) -> vec4<f32> {
  if (SPLIT == 1u) { return value; }
  parts[local.y * LANES + local.x] = value;
  workgroupBarrier();
  var total = vec4(0.0);
  for (var s = 0u; s < SPLIT; s++) { total += parts[s * LANES + local.x]; }
  workgroupBarrier();
  return total;
}

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

@compute @workgroup_size(LANES, SPLIT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) lane: u32) {
  let groups = (shape.rows + 3u) / 4u;
  let owned = (workgroup.x * LANES + local.x) * GROUPS;
  // Invocations past the last group still run (barriers and broadcasts need them); their results are discarded.
  var group: array<u32, GROUPS>;
  for (var g = 0u; g < GROUPS; g++) { group[g] = min(owned + g, groups - 1u); }
  let token = workgroup.y * TOKENS;
  let tokens = entry_count();
  let first = first_group(token);
  if (first == ELSEWHERE) { return; }
  var sources: array<u32, TOKENS>;
  for (var t = 0u; t < TOKENS; t++) { sources[t] = row_of_x(min(token + t, tokens - 1u)); }
  var sum: array<array<vec4<f32>, TOKENS>, GROUPS>;
  var squares: array<f32, TOKENS>;
  var scales: array<Scales, GROUPS>;
  for (var block = local.y; block < shape.blocks; block += SPLIT) {
    let part = block % SUPER;
    if (SUPER == 1u || SPLIT > 1u || part == 0u) {
      for (var g = 0u; g < GROUPS; g++) {
        scales[g] = load_scales(super_unit_of(first + group[g], block));
      }
    }
    var xs: array<Block, TOKENS>;
    let norm = load_norm(block, lane);
    for (var t = 0u; t < TOKENS; t++) {
      xs[t] = load_block(sources[t], block, lane, norm);
      squares[t] += xs[t].squares;
    }
    for (var g = 0u; g < GROUPS; g++) {
      let product = dot_block(unit_of(first + group[g], block), part, scales[g], xs);
      for (var t = 0u; t < TOKENS; t++) { sum[g][t] += product[t]; }
    }
  }
  for (var t = 0u; t < TOKENS; t++) {
    var scale = 1.0;
    if (has(NORM)) {
      let all = total_of(vec4(total_squares(squares[t])), local).x;
      scale = inverseSqrt(all / f32(shape.blocks * 32u) + shape.epsilon);
    }
    for (var g = 0u; g < GROUPS; g++) {
      let total = total_of(sum[g][t] * scale, local);
      if (local.y == 0u && is_entry(token + t, tokens) && owned + g < groups) {
        write(row_of_y(token + t), group[g], total);
      }
    }
  }
}
