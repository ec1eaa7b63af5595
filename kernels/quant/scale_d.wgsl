// One f16 a span and row: d.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec2<u32>>;  // d of 4 rows

struct Scales { d: vec4<f32> }

fn load_scales(super_unit: u32, part: u32) -> Scales {
  let s = packed_scales[super_unit];
  return Scales(vec4(unpack2x16float(s.x), unpack2x16float(s.y)));
}

fn next_scales(scales: Scales, super_unit: u32, part: u32) -> Scales { return scales; }
