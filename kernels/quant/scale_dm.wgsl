// Two f16 a block and row: w = d·q + m (Q4_1, Q5_1).
@group(0) @binding(1) var<storage, read> block_scales: array<vec4<u32>>;  // [unit]: d, m of 4 rows

struct Scales { dm: vec4<u32> }

fn load_scales(unit: u32) -> Scales { return Scales(block_scales[unit]); }

fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  let dm = unpack2x16float(scales.dm[r]);
  return Row(load_quants(unit, r), dm.xx, dm.yy);
}
