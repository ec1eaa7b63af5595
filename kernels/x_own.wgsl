// Activations of one span of 32. Each invocation loads all of them; caches share the loads. `sums`
// is Σx of each half of the span, for formats whose weights have an offset.
struct Span { x: array<vec4<f32>, 8>, squares: f32, sums: vec2<f32> }

fn load_norm(span: u32, lane: u32) -> array<vec4<f32>, 8> {
  var weights: array<vec4<f32>, 8>;
  if (has(NORM)) {
    for (var i = 0u; i < 8u; i++) { weights[i] = norm_weight[span * 8u + i]; }
  }
  return weights;
}

fn load_span(token: u32, span: u32, lane: u32, norm: array<vec4<f32>, 8>) -> Span {
  let base = (token * shape.spans + span) * 8u;
  var out: Span;
  for (var i = 0u; i < 8u; i++) {
    var v = x[base + i];
    if (has(NORM)) {
      out.squares += dot(v, v);
      v *= norm[i];
    }
    out.x[i] = v;
  }
  if (OFFSET) {
    let lo = (out.x[0] + out.x[1]) + (out.x[2] + out.x[3]);
    let hi = (out.x[4] + out.x[5]) + (out.x[6] + out.x[7]);
    out.sums = vec2((lo.x + lo.y) + (lo.z + lo.w), (hi.x + hi.y) + (hi.z + hi.w));
  }
  return out;
}

fn total_squares(own: f32) -> f32 { return own; }
