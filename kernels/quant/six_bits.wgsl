// Scales of Q3_K, Q4_K and Q5_K: two numbers of six bits per row and span. The four bytes of a word
// belong to the four rows, so that one instruction unpacks the bits of four rows. A super-unit is
// four vec4s: the low nibbles of both numbers, one word for each of spans 0–3; the same for spans
// 4–7; the high bit pairs, one word per two spans; and the f16s, one word per row.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;

struct Scales { first: u32, second: u32, d: vec4<u32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let d = packed_scales[word_of(super_unit, 4u, 3u)];
  return next_scales(Scales(0u, 0u, d), super_unit, part);
}

// Returns the scales of another span of the super-unit.
fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales {
  let low = packed_scales[word_of(super_unit, 4u, part / 4u)][part % 4u];
  let high = packed_scales[word_of(super_unit, 4u, 2u)][part / 2u] >> (part % 2u * 4u);
  return Scales((low & 0x0f0f0f0fu) | ((high << 4u) & 0x30303030u),
    ((low >> 4u) & 0x0f0f0f0fu) | ((high << 2u) & 0x30303030u), scales.d);
}
