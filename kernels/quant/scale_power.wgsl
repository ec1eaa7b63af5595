// MXFP4: d is a power of two. Each byte is the exponent of one row, biased like that of a float32.
@group(0) @binding(1) var<storage, read> packed_scales: array<u32>;  // of 4 rows

struct Scales { d: vec4<f32> }

// An exponent byte of 0 represents 2⁻¹²⁷, but becomes 0 here.
fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let exponents = unpack4xU8(packed_scales[word_of(super_unit, 1u, 0u)]);
  return Scales(bitcast<vec4<f32>>(exponents << vec4(23u)));
}

fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales { return scales; }
