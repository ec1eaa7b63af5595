// IQ4_NL and IQ4_XS: four bits a weight, as in q4.wgsl, which stand for the sixteen integers of a table.
// A polynomial of fourth degree is nowhere further than 0.44 from them, so that its rounded value is
// exact; to look them up would cost a branch or a load for each weight.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // 4 rows

const PIECES = 1u;
struct Quants { q: vec4<u32> }

fn load_quants(unit: u32, r: u32, piece: u32) -> Quants { return Quants(quants[word_of(unit, 4u, r)]); }

fn weights(q: Quants, i: u32) -> vec4<f32> {
  let n = four_floats(four_nibbles(q.q, i));
  var p = vec4(0.001586043);
  p = fma(p, n, vec4(0.03108644));
  p = fma(p, n, vec4(-1.371927));
  p = fma(p, n, vec4(24.17383));
  return round(fma(p, n, vec4(-126.567)));
}
