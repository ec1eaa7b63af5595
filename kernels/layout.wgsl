// The layout of matrices on the device. Rows form groups of four. A unit is 32 weights (a span) of
// each row of a group: unit = [group / TILE, span, group % TILE]. Formats with superblocks store
// the scales of SUPER spans together: super-unit = [group / TILE, span / SUPER, group % TILE]. A
// unit consists of words (of its buffer's element type). TILE units store their first words
// together, then their second words, and so on, so that TILE neighbouring invocations read
// neighbouring memory. TILE is a `const` before this file.

// A matrix, or a part of one, and its use (matrixShape in kernels/specs.ts). It is a uniform, so
// that all matrices of a format share one pipeline.
struct Shape {
  rows: u32,
  spans: u32,        // spans of 32 columns per row
  first_row: u32,    // first row of this part within an embedding matrix
  y_stride: u32,     // floats per token in y
  y_offset: u32,     // where this matrix's rows start within them
  count: u32,        // index of the token count in the step's metadata
  flags: u32,
  bias_offset: u32,  // where this matrix's rows start in the bias
  epsilon: f32,
  slots: u32,         // for experts: slots per token
  first_expert: u32,  // first expert of this part
  experts: u32,       // number of experts in this part, `rows` rows each
}
@group(0) @binding(7) var<uniform> shape: Shape;

// The place of a group: the spans before its tile, and its index in the tile. Loops over spans
// compute it once.
struct Place { spans: u32, lane: u32 }

fn place_of(group: u32) -> Place { return Place(group / TILE * shape.spans, group % TILE); }

// The place of a unit or super-unit: the number of TILEs of them before its own, and its index
// there.
struct Unit { tiles: u32, lane: u32 }

fn unit_of(place: Place, span: u32) -> Unit { return Unit(place.spans + span, place.lane); }

fn super_unit_of(place: Place, span: u32) -> Unit {
  return Unit((place.spans + span) / SUPER, place.lane);
}

// Returns the index of word `i` of a unit or super-unit of `count` words.
fn word_of(unit: Unit, count: u32, i: u32) -> u32 { return (unit.tiles * count + i) * TILE + unit.lane; }

// The scales of 32 weights of one row: weight i is scale[i / 16] · w[i] + offset[i / 16].
struct RowScale { scale: vec2<f32>, offset: vec2<f32> }

// The following functions return one byte for each of weights 4i to 4i + 3 of a span.
// Nibbles: the low nibbles of `words` are weights 0–15, the high nibbles weights 16–31.
fn four_nibbles(words: vec4<u32>, i: u32) -> u32 {
  return (words[i % 4u] >> (i / 4u * 4u)) & 0x0f0f0f0fu;
}

// Bit pairs: each word contains 16 weights.
fn four_pairs(words: vec2<u32>, i: u32) -> u32 {
  return (words[i / 4u] >> (i % 4u * 2u)) & 0x03030303u;
}

// Bits: bit i of each byte, moved to bit `to`.
fn four_bits(word: u32, i: u32, to: u32) -> u32 {
  return select(word >> (i - to), word << (to - i), i < to) & (0x01010101u << to);
}

// Returns the four bytes as floats.
fn four_floats(bytes: u32) -> vec4<f32> { return vec4<f32>(unpack4xU8(bytes)); }

// Returns byte i of a word as a float.
fn byte_of(word: u32, i: u32) -> f32 { return f32((word >> (i * 8u)) & 255u); }
