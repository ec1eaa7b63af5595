// Five bits per weight: low nibbles as in nibbles.wgsl, and one word with the fifth bits of a row.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // 4 rows, then their fifth bits

const PIECES = 1u;
struct Quants { q: vec4<u32>, fifths: u32 }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants {
  return Quants(quants[word_of(unit, 5u, r)], quants[word_of(unit, 5u, 4u)][r]);
}

fn four(q: Quants, i: u32) -> u32 {
  return four_nibbles(q.q, i) | four_bits(q.fifths, i, 4u);
}
