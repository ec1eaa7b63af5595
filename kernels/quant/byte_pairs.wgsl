// Scales of Q2_K and Q6_K: a byte for each 16 weights. A byte of a word is a row's; a super-unit has
// vec4s of both words of two spans, then one of f16s.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;

struct Scales { first: u32, second: u32, d: vec4<u32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let d = packed_scales[word_of(super_unit, 5u, 4u)];
  return next_scales(Scales(0u, 0u, d), super_unit, part);
}

// Of another span of the super-unit.
fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales {
  let at = word_of(super_unit, 5u, part / 2u);
  let first = part % 2u * 2u;
  return Scales(packed_scales[at][first], packed_scales[at][first + 1u], scales.d);
}
