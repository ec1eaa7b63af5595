// Four bits (nibbles.wgsl) that stand for one of sixteen VALUES: a byte's two are looked up at once, in
// workgroup memory, which takes a third of the instructions that computing them would.
var<workgroup> table: array<u32, 256>;  // of a byte: of its low nibble, of its high one

// Weights i and i + 4 of a span are of the same bytes, so that they are used together.
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
