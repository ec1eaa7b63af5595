// Four bits per weight: the low nibbles are weights 0–15 of a span, the high nibbles weights 16–31.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // 4 rows

const PIECES = 1u;
struct Quants { q: vec4<u32> }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants { return Quants(quants[word_of(unit, 4u, r)]); }
