// Adds the sums of a workgroup's lanes: by shuffles within SUBGROUP lanes, then through workgroup
// memory. SUBGROUP is a power of two above TILE, at most the size of the device's smallest
// subgroups.
const PARTS = TILE * SPLIT / SUBGROUP;

var<workgroup> parts: array<vec4<f32>, TOKENS * PARTS * TILE>;  // [token, part, group]
var<workgroup> square_parts: array<f32, TOKENS * PARTS>;

fn add_lanes(lane: u32, sum: array<vec4<f32>, TOKENS>, squares: array<f32, TOKENS>) {
  let part = lane / SUBGROUP;
  for (var t = 0u; t < TOKENS; t++) {
    var v = sum[t];
    if (SUBGROUP > 8u) { v += subgroupShuffleXor(v, 8u); }
    if (SUBGROUP > 16u) { v += subgroupShuffleXor(v, 16u); }
    if (SUBGROUP > 32u) { v += subgroupShuffleXor(v, 32u); }
    if (lane % SUBGROUP < TILE) { parts[(t * PARTS + part) * TILE + lane % SUBGROUP] = v; }
    if (NORMED) {
      var s = squares[t];
      s += subgroupShuffleXor(s, 1u);
      s += subgroupShuffleXor(s, 2u);
      s += subgroupShuffleXor(s, 4u);
      if (SUBGROUP > 8u) { s += subgroupShuffleXor(s, 8u); }
      if (SUBGROUP > 16u) { s += subgroupShuffleXor(s, 16u); }
      if (SUBGROUP > 32u) { s += subgroupShuffleXor(s, 32u); }
      if (lane % SUBGROUP == 0u) { square_parts[t * PARTS + part] = s; }
    }
  }
  workgroupBarrier();
}

fn total(t: u32, g: u32) -> vec4<f32> {
  var sum = vec4(0.0);
  for (var part = 0u; part < PARTS; part++) { sum += parts[(t * PARTS + part) * TILE + g]; }
  return sum;
}

fn total_squares(t: u32) -> f32 {
  var sum = 0.0;
  for (var part = 0u; part < PARTS; part++) { sum += square_parts[t * PARTS + part]; }
  return sum;
}
