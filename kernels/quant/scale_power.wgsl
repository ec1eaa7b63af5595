// MXFP4: d, a power of two, in the upper half of a float32.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec2<u32>>;  // d of 4 rows

struct Scales { d: vec4<f32> }

fn load_scales(super_unit: u32, part: u32) -> Scales {
  let s = packed_scales[super_unit];
  return Scales(bitcast<vec4<f32>>(
    vec4(s.x << 16u, s.x & 0xffff0000u, s.y << 16u, s.y & 0xffff0000u)));
}

fn next_scales(scales: Scales, super_unit: u32, part: u32) -> Scales { return scales; }
