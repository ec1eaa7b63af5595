// What F16 and BF16 share: two weights a word, widened by pair().
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // [unit, 4 rows, 4]

struct Scales { none: u32 }

fn load_scales(unit: u32) -> Scales { return Scales(0u); }

fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  var row: Row;
  row.scale = vec2(1.0);
  for (var i = 0u; i < 4u; i++) {
    let q = quants[(unit * 4u + r) * 4u + i];
    row.w[i * 2u] = vec4(pair(q.x), pair(q.y));
    row.w[i * 2u + 1u] = vec4(pair(q.z), pair(q.w));
  }
  return row;
}
