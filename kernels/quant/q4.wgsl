// Four bits a weight: low nibbles are weights 0–15 of a block, high nibbles 16–31.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // [unit, 4 rows]

fn load_quants(unit: u32, r: u32) -> array<vec4<f32>, 8> {
  let q = quants[unit * 4u + r];
  let h = q >> vec4(4u);
  return array(low_nibbles(q.x), low_nibbles(q.y), low_nibbles(q.z), low_nibbles(q.w),
    low_nibbles(h.x), low_nibbles(h.y), low_nibbles(h.z), low_nibbles(h.w));
}
