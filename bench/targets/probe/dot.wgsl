// Eight independent chains of int8 dot products of four elements; each result is an operand of the
// next.
override LANES: u32 = 64u;
override ROUNDS: u32 = 256u;

@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = 0x01020304u + id.x;
  var a = 1i;
  var b = 2i;
  var c = 3i;
  var d = 4i;
  var e = 5i;
  var f = 6i;
  var g = 7i;
  var h = 8i;
  for (var i = 0u; i < ROUNDS; i++) {
    a += dot4I8Packed(x, u32(a));
    b += dot4I8Packed(x, u32(b));
    c += dot4I8Packed(x, u32(c));
    d += dot4I8Packed(x, u32(d));
    e += dot4I8Packed(x, u32(e));
    f += dot4I8Packed(x, u32(f));
    g += dot4I8Packed(x, u32(g));
    h += dot4I8Packed(x, u32(h));
  }
  sums[id.x] = u32(a + b + c + d + e + f + g + h);
}
