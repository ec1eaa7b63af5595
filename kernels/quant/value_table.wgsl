// Four bits per weight (nibbles.wgsl), which select one of sixteen VALUES. Both values of a byte
// are looked up at once in workgroup memory. This takes a third of the instructions that computing
// them would take.

// For each byte, two f16: the values of its low and of its high nibble.
var<workgroup> table: array<u32, 256>;

// Weights 4i and 4i + 16 of a span share bytes, so that steps i and i + 4 follow each other.
const ORDER = 4u;

fn fill_table(lane: u32) {
  for (var i = lane; i < 256u; i += LANES) { table[i] = pack2x16float(vec2(VALUES[i % 16u], VALUES[i / 16u])); }
  workgroupBarrier();
}

fn weights(q: Quants, i: u32) -> vec4<f32> {
  let word = q.q[i % 4u];
  let a = unpack2x16float(table[word & 255u]);
  let b = unpack2x16float(table[(word >> 8u) & 255u]);
  let c = unpack2x16float(table[(word >> 16u) & 255u]);
  let d = unpack2x16float(table[word >> 24u]);
  if (i < 4u) { return vec4(a.x, b.x, c.x, d.x); }
  return vec4(a.y, b.y, c.y, d.y);
}
