// F32: weights are read as they are.
@group(0) @binding(0) var<storage, read> quants: array<vec4<f32>>;  // 4 rows of 8 vec4s

const PIECES = 8u;
struct Quants { w: vec4<f32> }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants {
  return Quants(quants[word_of(unit, 32u, r * 8u + piece)]);
}

fn weights(q: Quants, i: u32) -> vec4<f32> { return q.w; }
