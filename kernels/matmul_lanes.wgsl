// A matrix product for up to eight tokens on GPUs. A workgroup owns the TILE groups of a tile. Lane
// (k, g) processes every SPLIT-th span, starting at span k, of the four rows of group g.
// Neighbouring lanes read neighbouring weights, and every TILE of them read the same activations.
//
// A span is processed four columns at a time, so that few of its activations are in registers at
// once. For few tokens, scales are multiplied in late: to the sum of a span instead of each weight.
// For more tokens this would cost registers, and a sum of the activations of each token. The sums
// of the lanes are added in a fixed order (sum_lanes.wgsl or sum_subgroups.wgsl).
const LANES = TILE * SPLIT;
const LATE = SCALED && TOKENS <= 2u;

fn dot_from(sum: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = workgroup.y * TOKENS;
  let tokens = entry_count();
  let first = first_group(token);
  if (first == ELSEWHERE) { return; }
  fill_table(lane);
  let g = lane % TILE;
  let place = place_of(first + workgroup.x * TILE + g);
  var rows_of_x: array<u32, TOKENS>;
  var squared: array<u32, TOKENS>;  // index of the four columns of span 0 that this lane squares
  for (var t = 0u; t < TOKENS; t++) {
    rows_of_x[t] = row_of_x(min(token + t, tokens - 1u)) * shape.spans * 8u;
    squared[t] = rows_of_x[t] + g;
  }

  var sum: array<vec4<f32>, TOKENS>;
  var squares: array<f32, TOKENS>;
  for (var span = lane / TILE; span < shape.spans; span += SPLIT) {
    let unit = unit_of(place, span);
    let scales = load_scales(super_unit_of(place, span), span % SUPER);
    var q: array<Quants, 4>;
    var scale: array<RowScale, 4>;
    if (!LATE) {
      for (var r = 0u; r < 4u; r++) { scale[r] = row_scale(scales, r); }
    }
    // The lanes that read the same activations each square a part of them.
    if (NORMED) {
      for (var t = 0u; t < TOKENS; t++) {
        let v = x[squared[t] + span * 8u];
        squares[t] = dot_from(squares[t], v, v);
      }
    }
    var part: array<vec4<f32>, TOKENS>;
    var x_sum: array<f32, TOKENS>;
    for (var turn = 0u; turn < 8u; turn++) {
      const i = (turn * ORDER + turn / (8u / ORDER)) % 8u;
      let half = i / (8u / HALVES);
      var w: array<vec4<f32>, 4>;
      for (var r = 0u; r < 4u; r++) {
        if (i % (8u / PIECES) == 0u) { q[r] = load_quants(unit, r, i / (8u / PIECES)); }
        w[r] = weights(q[r], i);
        if (SCALED && !LATE) {
          w[r] *= scale[r].scale[half];
          if (OFFSET) { w[r] += scale[r].offset[half]; }
        }
      }
      var norm = vec4(1.0);
      if (NORMED) { norm = norm_weight[span * 8u + i]; }
      for (var t = 0u; t < TOKENS; t++) {
        var v = x[rows_of_x[t] + span * 8u + i];
        if (NORMED) { v *= norm; }
        if (LATE) {
          for (var r = 0u; r < 4u; r++) { part[t][r] = dot_from(part[t][r], w[r], v); }
          if (OFFSET) { x_sum[t] += (v.x + v.y) + (v.z + v.w); }
        } else {
          for (var r = 0u; r < 4u; r++) { sum[t][r] = dot_from(sum[t][r], w[r], v); }
        }
      }
      if (LATE && (i + 1u) % (8u / HALVES) == 0u) {
        for (var t = 0u; t < TOKENS; t++) {
          for (var r = 0u; r < 4u; r++) {
            if (t == 0u && half == 0u) { scale[r] = row_scale(scales, r); }
            sum[t][r] = fma(scale[r].scale[half], part[t][r], sum[t][r]);
            if (OFFSET) { sum[t][r] = fma(scale[r].offset[half], x_sum[t], sum[t][r]); }
            part[t][r] = 0.0;
          }
          x_sum[t] = 0.0;
        }
      }
    }
  }

  add_lanes(lane, sum, squares);
  // The result of each group and token is written by one lane.
  for (var i = lane; i < TILE * TOKENS; i += LANES) {
    let t = i / TILE;
    let own = workgroup.x * TILE + i % TILE;
    if (is_entry(token + t, tokens) && own < (shape.rows + 3u) / 4u) {
      var scale = 1.0;
      if (NORMED) {
        scale = inverseSqrt(total_squares(t) / f32(shape.spans * 32u) + shape.epsilon);
      }
      write(row_of_y(token + t), own, total(t, i % TILE) * scale);
    }
  }
}
