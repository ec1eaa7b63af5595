// Five bits a weight: nibbles as in q4.wgsl, and the fifth bits of a row's block in one word.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // [unit, 4 rows + their fifth bits]

fn five(word: u32, bits: u32, i: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu) | (four_bits(bits, i) << vec4(4u)));
}

fn load_quants(unit: u32, r: u32) -> array<vec4<f32>, 8> {
  let q = quants[unit * 5u + r];
  let h = q >> vec4(4u);
  let bits = quants[unit * 5u + 4u][r];
  return array(five(q.x, bits, 0u), five(q.y, bits, 1u), five(q.z, bits, 2u), five(q.w, bits, 3u),
    five(h.x, bits, 4u), five(h.y, bits, 5u), five(h.z, bits, 6u), five(h.w, bits, 7u));
}
