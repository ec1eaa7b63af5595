// Eight independent chains of vector multiply-adds, enough to hide their latency.
override LANES: u32 = 64u;
override ROUNDS: u32 = 256u;

@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(0.999 + f32(id.x) * 1e-9);
  let y = vec4<f32>(0.001);
  var a = y;
  var b = y * 2.0;
  var c = y * 3.0;
  var d = y * 4.0;
  var e = y * 5.0;
  var f = y * 6.0;
  var g = y * 7.0;
  var h = y * 8.0;
  for (var i = 0u; i < ROUNDS; i++) {
    a = fma(a, x, y);
    b = fma(b, x, y);
    c = fma(c, x, y);
    d = fma(d, x, y);
    e = fma(e, x, y);
    f = fma(f, x, y);
    g = fma(g, x, y);
    h = fma(h, x, y);
  }
  let sum = a + b + c + d + e + f + g + h;
  sums[id.x] = sum.x + sum.y + sum.z + sum.w;
}
