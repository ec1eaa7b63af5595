// IQ4_NL and IQ4_XS: four bits (nibbles.wgsl), which stand for the sixteen integers of a table.
// A polynomial of fourth degree is nowhere further than 0.44 from them, so that its rounded value is
// exact. For lanes that share workgroup memory value_table.wgsl looks them up.
fn weights(q: Quants, i: u32) -> vec4<f32> {
  let n = four_floats(four_nibbles(q.q, i));
  var p = vec4(0.001586043);
  p = fma(p, n, vec4(0.03108644));
  p = fma(p, n, vec4(-1.371927));
  p = fma(p, n, vec4(24.17383));
  return round(fma(p, n, vec4(-126.567)));
}
