// Quantizes activations to integers of 16 bits, v = 256·high + low, in two planes of signed bytes,
// which matmul_dots.wgsl multiplies four at a time: x = v·(the span's largest magnitude / MOST). If
// NORMED, each workgroup also applies RMSNorm. An invocation processes a span of 32, a workgroup
// LANES spans of a token.
const MOST = 32639.0;  // 127·256 + 127
override SPANS: u32;
override EPSILON: f32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;             // [token, SPANS, 8]
@group(0) @binding(1) var<storage, read> norm_weight: array<vec4<f32>>;   // [SPANS, 8]
@group(0) @binding(2) var<storage, read_write> planes: array<vec4<u32>>;  // [token, SPANS, high or low, 2]
// [token, SPANS]: unit of the integers, sums of the first and second 16 activations
@group(0) @binding(3) var<storage, read_write> spans: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> batch: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = workgroup.y;
  var row = token;
  if (GATHERED) { row = batch[batch[3] + token]; }
  var factor = 1.0;
  if (NORMED) {
    var squares = 0.0;
    for (var i = lane; i < SPANS * 8u; i += LANES) {
      let v = x[row * SPANS * 8u + i];
      squares += dot(v, v);
    }
    factor = inverseSqrt(sum_of_lanes(squares, lane) / f32(SPANS * 32u) + EPSILON);
  }
  let span = workgroup.x * LANES + lane;
  if (span >= SPANS) { return; }
  var values: array<vec4<f32>, 8>;
  var most = vec4(0.0);
  for (var i = 0u; i < 8u; i++) {
    var v = x[(row * SPANS + span) * 8u + i];
    if (NORMED) { v *= factor * norm_weight[span * 8u + i]; }
    values[i] = v;
    most = max(most, abs(v));
  }
  let largest = max(max(most.x, most.y), max(most.z, most.w));
  // Avoids a division by 0 if all values are (nearly) 0.
  let inverse = select(0.0, MOST / largest, largest > 1e-30);
  var high: array<u32, 8>;
  var low: array<u32, 8>;
  var sums: array<vec4<i32>, 2>;
  for (var i = 0u; i < 8u; i++) {
    let v = vec4<i32>(round(values[i] * inverse));
    let upper = (v + 128) >> vec4(8u);
    high[i] = pack4xI8(upper);
    low[i] = pack4xI8(v - upper * 256);
    sums[i / 4u] += v;
  }
  let to = token * SPANS + span;
  planes[to * 4u] = vec4(high[0], high[1], high[2], high[3]);
  planes[to * 4u + 1u] = vec4(high[4], high[5], high[6], high[7]);
  planes[to * 4u + 2u] = vec4(low[0], low[1], low[2], low[3]);
  planes[to * 4u + 3u] = vec4(low[4], low[5], low[6], low[7]);
  let unit = largest / MOST;
  let first = sums[0].x + sums[0].y + sums[0].z + sums[0].w;
  let second = sums[1].x + sums[1].y + sums[1].z + sums[1].w;
  spans[to] = vec4(unit, unit * f32(first), unit * f32(second), 0.0);
}
