// A matrix product for software drivers; its lanes do not cooperate. An invocation owns GROUPS
// groups of four rows and TOKENS tokens, so each weight that it reads serves TOKENS tokens and each
// activation 4·GROUPS rows. It adds all spans in order, so a token's result does not depend on its
// batch.
override LANES: u32;

// Multiplies four rows of one span by TOKENS tokens.
fn dot_span(unit: Unit, scales: Scales, xs: array<Span, TOKENS>)
  -> array<vec4<f32>, TOKENS> {
  var result: array<vec4<f32>, TOKENS>;
  for (var r = 0u; r < 4u; r++) {
    var q: array<Quants, PIECES>;
    for (var i = 0u; i < PIECES; i++) { q[i] = load_quants(unit, r, i); }
    let scale = row_scale(scales, r);
    var w: array<vec4<f32>, 8>;
    for (var i = 0u; i < 8u; i++) { w[i] = weights(q[i * PIECES / 8u], i); }
    for (var t = 0u; t < TOKENS; t++) {
      var lo = w[0] * xs[t].x[0];
      var hi = w[4] * xs[t].x[4];
      for (var i = 1u; i < 4u; i++) {
        lo = fma(w[i], xs[t].x[i], lo);
        hi = fma(w[i + 4u], xs[t].x[i + 4u], hi);
      }
      if (ONE_SCALE) {
        lo += hi;
        result[t][r] = scale.scale.x * ((lo.x + lo.y) + (lo.z + lo.w));
        if (OFFSET) { result[t][r] += scale.offset.x * (xs[t].sums.x + xs[t].sums.y); }
      } else {
        result[t][r] = scale.scale.x * ((lo.x + lo.y) + (lo.z + lo.w)) +
          scale.scale.y * ((hi.x + hi.y) + (hi.z + hi.w));
        if (OFFSET) { result[t][r] += dot(scale.offset, xs[t].sums); }
      }
    }
  }
  return result;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let groups = (shape.rows + 3u) / 4u;
  let owned = (workgroup.x * LANES + lane) * GROUPS;
  // Invocations past the last group still run (broadcasts need them); their results are discarded.
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
  for (var span = 0u; span < shape.spans; span++) {
    let part = span % SUPER;
    for (var g = 0u; g < GROUPS; g++) {
      let super_unit = super_unit_of(place_of(first + group[g]), span);
      if (SUPER == 1u || part == 0u) {
        scales[g] = load_scales(super_unit, part);
      } else {
        scales[g] = next_scales(scales[g], super_unit, part);
      }
    }
    var xs: array<Span, TOKENS>;
    let norm = load_norm(span, lane);
    for (var t = 0u; t < TOKENS; t++) {
      xs[t] = load_span(sources[t], span, lane, norm);
      squares[t] += xs[t].squares;
    }
    for (var g = 0u; g < GROUPS; g++) {
      let product = dot_span(unit_of(place_of(first + group[g]), span), scales[g], xs);
      for (var t = 0u; t < TOKENS; t++) { sum[g][t] += product[t]; }
    }
  }
  for (var t = 0u; t < TOKENS; t++) {
    var scale = 1.0;
    if (has(NORM)) {
      let all = total_squares(squares[t]);
      scale = inverseSqrt(all / f32(shape.spans * 32u) + shape.epsilon);
    }
    for (var g = 0u; g < GROUPS; g++) {
      if (is_entry(token + t, tokens) && owned + g < groups) {
        write(row_of_y(token + t), group[g], sum[g][t] * scale);
      }
    }
  }
}
