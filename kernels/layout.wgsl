// How matrices lie on the device. Rows go in groups of four; 32 weights of each row of a group are
// a unit: unit = [group / TILE, block, group % TILE], so that TILE neighbouring invocations, one
// group each, read neighbouring memory. Formats with super-blocks keep the scales of SUPER blocks
// together: super-unit = [group / TILE, block / SUPER, group % TILE].
override TILE: u32;  // groups per tile

// A matrix, or a part of one, and its use (kernels/specs.ts, matrixShape): a uniform, so that all
// matrices of a format share one pipeline.
struct Shape {
  rows: u32,
  blocks: u32,       // of 32, along a row
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

fn unit_of(group: u32, block: u32) -> u32 {
  return (group / TILE * shape.blocks + block) * TILE + group % TILE;
}

fn super_unit_of(group: u32, block: u32) -> u32 {
  return (group / TILE * (shape.blocks / SUPER) + block / SUPER) * TILE + group % TILE;
}

// 32 weights of one row: weight i is scale[i / 16] · w[i] + offset[i / 16].
struct Row { w: array<vec4<f32>, 8>, scale: vec2<f32>, offset: vec2<f32> }

// Sixteen bytes' low four bits, as floats.
fn low_nibbles(word: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu));
}

// Bit 4i + c of `word`, for c of 0 to 3.
fn four_bits(word: u32, i: u32) -> vec4<u32> {
  return (vec4(word) >> (vec4(0u, 1u, 2u, 3u) + 4u * i)) & vec4(1u);
}

// The 2-bit field 4i + c of two words, for c of 0 to 3.
fn four_pairs(words: vec2<u32>, i: u32) -> vec4<u32> {
  return (vec4(words[i / 4u]) >> (vec4(0u, 2u, 4u, 6u) + 8u * (i % 4u))) & vec4(3u);
}

// Signed byte i of a word.
fn signed_byte(word: u32, i: u32) -> f32 {
  return f32(extractBits(bitcast<i32>(word), i * 8u, 8u));
}
