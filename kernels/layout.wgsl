// How matrices lie on the device. Rows go in groups of four; 32 weights of each row of a group are
// a unit: unit = [group / TILE, span, group % TILE]. Formats with superblocks keep the scales of
// SUPER spans together: super-unit = [group / TILE, span / SUPER, group % TILE]. A unit has some
// words (of its buffer's element type), and TILE units have their first words, then their second
// words and so on, so that TILE neighbouring invocations read neighbouring memory. TILE is a `const` before this file.

// A matrix, or a part of one, and its use (kernels/specs.ts, matrixShape): a uniform, so that all
// matrices of a format share one pipeline.
struct Shape {
  rows: u32,
  spans: u32,        // of 32 columns, along a row
  first_row: u32,    // of this part, within an embedding matrix
  y_stride: u32,     // floats per token in y
  y_offset: u32,     // where this matrix's rows start within them
  count: u32,        // which entry of the step's metadata says how many tokens
  flags: u32,
  bias_offset: u32,  // where this matrix's rows start in the bias
  epsilon: f32,
  slots: u32,         // of experts: how many a token has,
  first_expert: u32,  // and which ones this part holds, `rows` rows each
  experts: u32,
}
@group(0) @binding(7) var<uniform> shape: Shape;

// Where a group is: spans before its tile, and its place in the tile. A loop over spans does this once.
struct Place { spans: u32, lane: u32 }

fn place_of(group: u32) -> Place { return Place(group / TILE * shape.spans, group % TILE); }

// A unit or super-unit: how many TILEs of them lie before it, and its place in its own.
struct Unit { tiles: u32, lane: u32 }

fn unit_of(place: Place, span: u32) -> Unit { return Unit(place.spans + span, place.lane); }

fn super_unit_of(place: Place, span: u32) -> Unit {
  return Unit((place.spans + span) / SUPER, place.lane);
}

// Where word `i` of the `count` words of a unit or super-unit is.
fn word_of(unit: Unit, count: u32, i: u32) -> u32 { return (unit.tiles * count + i) * TILE + unit.lane; }

// 32 weights of one row: weight i is scale[i / 16] · w[i] + offset[i / 16].
struct RowScale { scale: vec2<f32>, offset: vec2<f32> }

// Of weights 4i to 4i + 3 of a span, a byte for each:
// nibbles, the low ones being those of weights 0–15, the high ones of 16–31;
fn four_nibbles(words: vec4<u32>, i: u32) -> u32 {
  return (words[i % 4u] >> (i / 4u * 4u)) & 0x0f0f0f0fu;
}

// pairs of bits, a word for 16 weights;
fn four_pairs(words: vec2<u32>, i: u32) -> u32 {
  return (words[i / 4u] >> (i % 4u * 2u)) & 0x03030303u;
}

// bits, bit i of each byte, moved to bit `to`.
fn four_bits(word: u32, i: u32, to: u32) -> u32 {
  return select(word >> (i - to), word << (to - i), i < to) & (0x01010101u << to);
}

// As floats.
fn four_floats(bytes: u32) -> vec4<f32> { return vec4<f32>(unpack4xU8(bytes)); }

// Byte i of a word.
fn byte_of(word: u32, i: u32) -> f32 { return f32((word >> (i * 8u)) & 255u); }
