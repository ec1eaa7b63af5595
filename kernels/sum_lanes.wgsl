// Adds the sums of a workgroup's lanes through workgroup memory alone, for devices whose subgroups
// are too small or that have none. See sum_subgroups.wgsl.
var<workgroup> parts: array<vec4<f32>, TOKENS * SPLIT * TILE>;  // [token, part, group]
var<workgroup> square_parts: array<f32, TOKENS * SPLIT * TILE>;

fn add_lanes(lane: u32, sum: array<vec4<f32>, TOKENS>, squares: array<f32, TOKENS>) {
  for (var t = 0u; t < TOKENS; t++) {
    parts[t * SPLIT * TILE + lane] = sum[t];
    if (NORMED) { square_parts[t * SPLIT * TILE + lane] = squares[t]; }
  }
  workgroupBarrier();
}

fn total(t: u32, g: u32) -> vec4<f32> {
  var sum = vec4(0.0);
  for (var part = 0u; part < SPLIT; part++) { sum += parts[(t * SPLIT + part) * TILE + g]; }
  return sum;
}

fn total_squares(t: u32) -> f32 {
  var sum = 0.0;
  for (var part = 0u; part < SPLIT * TILE; part++) { sum += square_parts[t * SPLIT * TILE + part]; }
  return sum;
}
