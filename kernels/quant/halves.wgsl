// Shared by F16 and BF16: two weights per 32-bit word, widened by pair().
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // 4 rows of 4 vec4s

const PIECES = 4u;
struct Quants { q: vec4<u32> }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants {
  return Quants(quants[word_of(unit, 16u, r * 4u + piece)]);
}

fn weights(q: Quants, i: u32) -> vec4<f32> {
  return vec4(pair(q.q[i % 2u * 2u]), pair(q.q[i % 2u * 2u + 1u]));
}
