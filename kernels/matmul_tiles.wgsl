// A matrix product for many tokens on GPUs: 64 rows × 32 tokens per workgroup of 64 lanes. Span by
// span, each lane dequantizes one row into workgroup memory and loads a share of the activations.
// Then each lane multiplies eight rows by four tokens, four columns at a time, with the sums in
// registers.
//
// In the inner loop, each array has only one index that is not known at compile time, so that its
// bounds check and address are computed once per span. The padding in the structs distributes lanes
// over the banks of workgroup memory.
struct Rows { w: array<array<vec4<f32>, 8>, 8>, padding: vec4<f32> }    // [row, four columns]
struct Tokens { x: array<array<vec4<f32>, 8>, 4>, padding: vec4<f32> }  // [token, four columns]

var<workgroup> w_tile: array<Rows, 8>;
var<workgroup> x_tile: array<Tokens, 8>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = workgroup.y * TOKENS;
  let tokens = entry_count();
  let groups = (shape.rows + 3u) / 4u;
  // The lane loads row r of a group, and four columns of every eighth token.
  let r = lane / TILE % 4u;
  let tile = min(workgroup.x * 2u + lane / 32u, (groups + TILE - 1u) / TILE - 1u);
  let place = place_of(tile * TILE + lane % TILE);
  let chunk = lane % 8u;
  var rows_of_x: array<u32, 4>;
  for (var j = 0u; j < 4u; j++) {
    rows_of_x[j] = row_of_x(min(token + j * 8u + lane / 8u, tokens - 1u)) * shape.spans * 8u + chunk;
  }
  // The lane multiplies groups `own` and `own + 8` of the workgroup by every eighth token.
  let own = lane % 8u;
  let first = lane / 8u;

  var sum: array<array<vec4<f32>, 2>, 4>;  // [token, group]
  var squares: array<f32, 4>;
  for (var span = 0u; span < shape.spans; span++) {
    let unit = unit_of(place, span);
    let scale = row_scale(load_scales(super_unit_of(place, span), span % SUPER), r);
    var q: Quants;
    for (var i = 0u; i < 8u; i++) {
      if (i % (8u / PIECES) == 0u) { q = load_quants(unit, r, i / (8u / PIECES)); }
      var w = weights(q, i);
      if (SCALED) {
        w *= scale.scale[i / (8u / HALVES)];
        if (OFFSET) { w += scale.offset[i / (8u / HALVES)]; }
      }
      w_tile[lane % 8u].w[lane / 8u][i] = w;
    }
    var norm = vec4(1.0);
    if (NORMED) { norm = norm_weight[span * 8u + chunk]; }
    for (var j = 0u; j < 4u; j++) {
      var v = x[rows_of_x[j] + span * 8u];
      if (NORMED) {
        squares[j] += dot(v, v);
        v *= norm;
      }
      x_tile[lane / 8u].x[j][chunk] = v;
    }
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) {
      var w: array<vec4<f32>, 8>;
      for (var n = 0u; n < 8u; n++) { w[n] = w_tile[own].w[n][i]; }
      for (var t = 0u; t < 4u; t++) {
        let v = x_tile[first].x[t][i];
        for (var n = 0u; n < 8u; n++) {
          let old = sum[t][n / 4u][n % 4u];
          sum[t][n / 4u][n % 4u] =
            fma(w[n].w, v.w, fma(w[n].z, v.z, fma(w[n].y, v.y, fma(w[n].x, v.x, old))));
        }
      }
    }
    workgroupBarrier();
  }

  if (NORMED) {
    for (var j = 0u; j < 4u; j++) { x_tile[lane / 8u].x[j][chunk] = vec4(squares[j]); }
    workgroupBarrier();
  }
  for (var t = 0u; t < 4u; t++) {
    let at = t * 8u + first;
    var scale = 1.0;
    if (NORMED) {
      var all = 0.0;
      for (var i = 0u; i < 8u; i++) { all += x_tile[first].x[t][i].x; }
      scale = inverseSqrt(all / f32(shape.spans * 32u) + shape.epsilon);
    }
    for (var n = 0u; n < 2u; n++) {
      let to = (workgroup.x * 2u + n) * TILE + own;
      if (is_entry(token + at, tokens) && to < groups) {
        write(row_of_y(token + at), to, sum[t][n] * scale);
      }
    }
  }
}
