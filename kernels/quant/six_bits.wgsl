// Scales of Q3_K, Q4_K and Q5_K: two numbers of six bits for each row's span. A byte of a word is
// a row's, so that one instruction unpacks what four rows have. A super-unit has vec4s of: low
// nibbles of both numbers, a word for each of spans 0–3; of spans 4–7; high pairs of bits, a word
// for two spans; and a row's f16s.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;

struct Scales { first: u32, second: u32, d: vec4<u32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let d = packed_scales[word_of(super_unit, 4u, 3u)];
  return next_scales(Scales(0u, 0u, d), super_unit, part);
}

// Of another span of the super-unit.
fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales {
  let low = packed_scales[word_of(super_unit, 4u, part / 4u)][part % 4u];
  let high = packed_scales[word_of(super_unit, 4u, 2u)][part / 2u] >> (part % 2u * 4u);
  return Scales((low & 0x0f0f0f0fu) | ((high << 4u) & 0x30303030u),
    ((low >> 4u) & 0x0f0f0f0fu) | ((high << 2u) & 0x30303030u), scales.d);
}
