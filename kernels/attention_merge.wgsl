// Merges the partial results that the workgroups of attention_keys.wgsl wrote. A workgroup serves
// one head of one token; each lane adds four elements of every SHARES-th part.
override HEADS: u32;
const LANES = 256u;
const WIDTH = HEAD_DIM / 4u;
const SHARES = LANES / WIDTH;

// [token, HEADS, part, WIDTH]; each part is followed by its maximum and sum.
@group(0) @binding(0) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;  // [token, HEADS, WIDTH]
@group(0) @binding(3) var<storage, read> batch: array<u32>;

var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> scales: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.y * HEADS + workgroup.x;
  var scale = vec2(-3.0e38, 0.0);
  var sum = vec4(0.0);
  if (lane < SHARES * WIDTH) {
    for (var i = lane / WIDTH; i < batch[6]; i += SHARES) {
      let at = (row * batch[6] + i) * (WIDTH + 1u);
      let part = parts[at + WIDTH];
      let most = max(scale.x, part.x);
      let keep = exp(scale.x - most);
      let share = exp(part.x - most);
      sum = sum * keep + parts[at + lane % WIDTH] * share;
      scale = vec2(most, scale.y * keep + part.y * share);
    }
  }
  sums[lane] = sum;
  scales[lane] = scale;
  workgroupBarrier();
  if (lane >= WIDTH) { return; }
  for (var i = 1u; i < SHARES; i++) {
    let other = scales[lane + i * WIDTH];
    let most = max(scale.x, other.x);
    let keep = exp(scale.x - most);
    let share = exp(other.x - most);
    sum = sum * keep + sums[lane + i * WIDTH] * share;
    scale = vec2(most, scale.y * keep + other.y * share);
  }
  y[row * WIDTH + lane] = sum / scale.y;
}
