// Reads a buffer once and stores a sum, so that no load can be optimized away.
override LANES: u32 = 64u;
// Number of vectors that an invocation reads, the distance between them, and the distance between
// the first vectors of neighbouring invocations.
override VECTORS: u32 = 16u;
override STEP: u32 = 1u;
override SPREAD: u32 = 16u;

@group(0) @binding(0) var<storage, read> data: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = id.x * SPREAD;
  var a = vec4<u32>(0u);
  var b = vec4<u32>(0u);
  var c = vec4<u32>(0u);
  var d = vec4<u32>(0u);
  for (var i = 0u; i < VECTORS; i += 4u) {
    a += data[first + i * STEP];
    b += data[first + (i + 1u) * STEP];
    c += data[first + (i + 2u) * STEP];
    d += data[first + (i + 3u) * STEP];
  }
  let sum = a + b + c + d;
  sums[id.x] = sum.x + sum.y + sum.z + sum.w;
}
