// Activations of one span of 32. Eight lanes of a subgroup each load a part and broadcast it to the
// others. On software drivers, a load costs the same whether the lanes read one address or several,
// and a broadcast costs almost nothing. Subgroups must have at least eight lanes, all at the same
// token and span. `squares` is the lane's part of Σx². `sums` is Σx of each half of the span, for
// formats whose weights have an offset.
struct Span { x: array<vec4<f32>, 8>, squares: f32, sums: vec2<f32> }

fn load_norm(span: u32, lane: u32) -> vec4<f32> {
  if (has(NORM)) { return norm_weight[span * 8u + lane % 8u]; }
  return vec4(1.0);
}

fn load_span(token: u32, span: u32, lane: u32, norm: vec4<f32>) -> Span {
  var v = x[(token * shape.spans + span) * 8u + lane % 8u];
  let squares = dot(v, v);
  v *= norm;
  var sums: vec2<f32>;
  if (OFFSET) {
    let sum = (v.x + v.y) + (v.z + v.w);
    sums = vec2((subgroupBroadcast(sum, 0u) + subgroupBroadcast(sum, 1u)) +
      (subgroupBroadcast(sum, 2u) + subgroupBroadcast(sum, 3u)),
      (subgroupBroadcast(sum, 4u) + subgroupBroadcast(sum, 5u)) +
      (subgroupBroadcast(sum, 6u) + subgroupBroadcast(sum, 7u)));
  }
  return Span(array(subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u),
    subgroupBroadcast(v, 3u), subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u),
    subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u)), squares, sums);
}

fn total_squares(own: f32) -> f32 {
  return ((subgroupBroadcast(own, 0u) + subgroupBroadcast(own, 1u)) +
    (subgroupBroadcast(own, 2u) + subgroupBroadcast(own, 3u))) +
    ((subgroupBroadcast(own, 4u) + subgroupBroadcast(own, 5u)) +
    (subgroupBroadcast(own, 6u) + subgroupBroadcast(own, 7u)));
}
