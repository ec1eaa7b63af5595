// Two f16 per row and super-unit: w = d·q + m (Q4_1, Q5_1 and MLX's formats).
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // d, m of 4 rows

struct Scales { dm: vec4<u32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales { return Scales(packed_scales[word_of(super_unit, 1u, 0u)]); }

fn row_scale(scales: Scales, r: u32) -> RowScale {
  let dm = unpack2x16float(scales.dm[r]);
  return RowScale(dm.xx, dm.yy);
}

fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales { return scales; }
