// MXFP4: d, a power of two; a byte has the exponent of a row's, biased as float32's is.
@group(0) @binding(1) var<storage, read> packed_scales: array<u32>;  // of 4 rows

struct Scales { d: vec4<f32> }

// The exponent of 2⁻¹²⁷ makes a zero here.
fn load_scales(super_unit: Unit, part: u32) -> Scales {
  let exponents = unpack4xU8(packed_scales[word_of(super_unit, 1u, 0u)]);
  return Scales(bitcast<vec4<f32>>(exponents << vec4(23u)));
}

fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales { return scales; }
