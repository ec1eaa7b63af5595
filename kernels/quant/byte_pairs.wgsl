// Scales of Q2_K and Q6_K: one byte per 16 weights. The four bytes of a word belong to the four
// rows. A super-unit is four vec4s, each with the two words of two spans, then one vec4 of f16s.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;

struct Scales { first: u32, second: u32, d: vec4<u32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let d = packed_scales[word_of(super_unit, 5u, 4u)];
  return next_scales(Scales(0u, 0u, d), super_unit, part);
}

// Returns the scales of another span of the super-unit.
fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales {
  let at = word_of(super_unit, 5u, part / 2u);
  let first = part % 2u * 2u;
  return Scales(packed_scales[at][first], packed_scales[at][first + 1u], scales.d);
}
