// IQ4_NL and IQ4_XS: four bits per weight (nibbles.wgsl), which select one of sixteen integers. A
// polynomial of fourth degree differs from these integers by at most 0.44, so its rounded value is
// exact. In kernels whose lanes share workgroup memory, value_table.wgsl looks the integers up.
fn weights(q: Quants, i: u32) -> vec4<f32> {
  let n = four_floats(four_nibbles(q.q, i));
  var p = vec4(0.001586043);
  p = fma(p, n, vec4(0.03108644));
  p = fma(p, n, vec4(-1.371927));
  p = fma(p, n, vec4(24.17383));
  return round(fma(p, n, vec4(-126.567)));
}
