// Eight unsigned bits per weight.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // 4 rows of 2 vec4s

const PIECES = 2u;
struct Quants { q: vec4<u32> }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants {
  return Quants(quants[word_of(unit, 8u, r * 2u + piece)]);
}

fn four(q: Quants, i: u32) -> u32 { return q.q[i % 4u]; }
