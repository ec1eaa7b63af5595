// F32.
@group(0) @binding(0) var<storage, read> quants: array<vec4<f32>>;  // [unit, 4 rows, 8]

struct Scales { none: u32 }

fn load_scales(unit: u32) -> Scales { return Scales(0u); }

fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  var row: Row;
  row.scale = vec2(1.0);
  for (var i = 0u; i < 8u; i++) { row.w[i] = quants[(unit * 4u + r) * 8u + i]; }
  return row;
}
