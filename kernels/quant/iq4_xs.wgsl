// IQ4_XS: w = d·(sc − 32)·table[q]; sc, six bits, per span of 32. A byte of a word is a row's: four words
// of low nibbles of two spans each, two of high pairs of bits of four spans each; then d of 4 rows.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // 2 words

struct Scales { sc: u32, rest: vec4<u32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let rest = packed_scales[word_of(super_unit, 2u, 1u)];
  return next_scales(Scales(0u, rest), super_unit, part);
}

// Of another span of the super-unit.
fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales {
  let low = packed_scales[word_of(super_unit, 2u, 0u)][part / 2u] >> (part % 2u * 4u);
  let high = select(scales.rest.x, scales.rest.y, part >= 4u) >> (part % 4u * 2u);
  return Scales((low & 0x0f0f0f0fu) | ((high << 4u) & 0x30303030u), scales.rest);
}

fn row_scale(scales: Scales, r: u32) -> RowScale {
  let d = unpack2x16float(scales.rest[2u + r / 2u])[r % 2u];
  return RowScale(vec2(d * (byte_of(scales.sc, r) - 32.0)), vec2(0.0));
}
