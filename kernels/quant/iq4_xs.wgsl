// IQ4_XS: w = d·(sc − 32)·table[q], with one sc of six bits per span of 32. The four bytes of a
// word belong to the four rows. A super-unit is four words with the low nibbles of two spans each,
// two words with the high bit pairs of four spans each, and two words with d of the four rows.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // 2 vec4s per super-unit

struct Scales { sc: u32, rest: vec4<u32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let rest = packed_scales[word_of(super_unit, 2u, 1u)];
  return next_scales(Scales(0u, rest), super_unit, part);
}

// Returns the scales of another span of the super-unit.
fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales {
  let low = packed_scales[word_of(super_unit, 2u, 0u)][part / 2u] >> (part % 2u * 4u);
  let high = select(scales.rest.x, scales.rest.y, part >= 4u) >> (part % 4u * 2u);
  return Scales((low & 0x0f0f0f0fu) | ((high << 4u) & 0x30303030u), scales.rest);
}

fn row_scale(scales: Scales, r: u32) -> RowScale {
  let d = unpack2x16float(scales.rest[2u + r / 2u])[r % 2u];
  return RowScale(vec2(d * (byte_of(scales.sc, r) - 32.0)), vec2(0.0));
}
