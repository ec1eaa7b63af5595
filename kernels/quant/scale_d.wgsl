// One f16 per span and row: d.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec2<u32>>;  // d of 4 rows

struct Scales { d: vec4<f32> }

fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let s = packed_scales[word_of(super_unit, 1u, 0u)];
  return Scales(vec4(unpack2x16float(s.x), unpack2x16float(s.y)));
}

fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales { return scales; }
