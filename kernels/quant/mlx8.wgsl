// Eight unsigned bits a weight.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // [unit, 4 rows, 2]

fn bytes(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xU8(word)); }

fn load_quants(unit: u32, r: u32) -> array<vec4<f32>, 8> {
  let a = quants[(unit * 4u + r) * 2u];
  let b = quants[(unit * 4u + r) * 2u + 1u];
  return array(bytes(a.x), bytes(a.y), bytes(a.z), bytes(a.w),
    bytes(b.x), bytes(b.y), bytes(b.z), bytes(b.w));
}
