// A matrix product for up to eight tokens on GPUs that multiply four pairs of bytes at once. It is
// parallelized like matmul_lanes.wgsl. Activations are two planes of bytes (quantize.wgsl), so the
// dot product of a span is an exact integer sum, until scales are multiplied in.
const LANES = TILE * SPLIT;

@group(0) @binding(2) var<storage, read> planes: array<vec4<u32>>;  // [token, spans, high or low, 2]
// [token, spans]: unit of the integers, sums of the first and second 16 activations
@group(0) @binding(3) var<storage, read> x_spans: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = workgroup.y * TOKENS;
  let tokens = entry_count();
  let g = lane % TILE;
  let place = place_of(workgroup.x * TILE + g);
  var rows_of_x: array<u32, TOKENS>;
  for (var t = 0u; t < TOKENS; t++) { rows_of_x[t] = min(token + t, tokens - 1u) * shape.spans; }

  var sum: array<vec4<f32>, TOKENS>;
  for (var span = lane / TILE; span < shape.spans; span += SPLIT) {
    let unit = unit_of(place, span);
    let scales = load_scales(super_unit_of(place, span), span % SUPER);
    var scale: array<RowScale, 4>;
    var q: array<array<Quants, PIECES>, 4>;
    for (var t = 0u; t < TOKENS; t++) {
      let at = rows_of_x[t] + span;
      let own = x_spans[at];
      var highs = vec4<i32>();
      var lows = vec4<i32>();
      // Goes through the span half by half and row by row, so that few weights are in registers at
      // once.
      for (var j = 0u; j < 2u; j++) {
        let high = planes[at * 4u + j];
        let low = planes[at * 4u + 2u + j];
        let half = j / (2u / HALVES);
        for (var r = 0u; r < 4u; r++) {
          if (t == 0u && j == 0u) {
            scale[r] = row_scale(scales, r);
            scale[r].offset += BYTE_OFFSET * scale[r].scale;
          }
          const piece = j * PIECES / 2u;
          if (t == 0u && j % (2u / PIECES) == 0u) { q[r][piece] = load_quants(unit, r, piece); }
          for (var n = 0u; n < 4u; n++) {
            let w = four(q[r][piece], j * 4u + n) ^ FLIPPED;
            highs[r] += dot4I8Packed(w, high[n]);
            lows[r] += dot4I8Packed(w, low[n]);
          }
          if ((j + 1u) % (2u / HALVES) == 0u) {
            let product = own.x * f32(highs[r] * 256 + lows[r]);
            sum[t][r] = fma(scale[r].scale[half], product, sum[t][r]);
            if (OFFSET || BYTE_OFFSET != 0.0) {
              var x_sum = own.y + own.z;
              if (HALVES == 2u) { x_sum = own[1u + half]; }
              sum[t][r] = fma(scale[r].offset[half], x_sum, sum[t][r]);
            }
            highs[r] = 0;
            lows[r] = 0;
          }
        }
      }
    }
  }

  var squares: array<f32, TOKENS>;
  add_lanes(lane, sum, squares);
  // The result of each group and token is written by one lane.
  for (var i = lane; i < TILE * TOKENS; i += LANES) {
    let t = i / TILE;
    let own = workgroup.x * TILE + i % TILE;
    if (is_entry(token + t, tokens) && own < (shape.rows + 3u) / 4u) {
      write(row_of_y(token + t), own, total(t, i % TILE));
    }
  }
}
