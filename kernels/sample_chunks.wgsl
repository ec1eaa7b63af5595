// Per chunk of a row of logits: the highest and the lowest id that has it, and Σ exp(logit − highest).
// A chunk is (bits of the highest, id, bits of the sum, 1 where a logit is NaN): ids as bits of floats
// would be denormals, which a GPU may take for zero.
override CHUNK: u32;  // logits a workgroup reads

@group(0) @binding(0) var<storage, read> logits: array<f32>;              // [row, VOCABULARY]
@group(0) @binding(1) var<storage, read_write> chunks: array<vec4<u32>>;  // [sampler, chunk]
@group(0) @binding(2) var<storage, read> batch: array<u32>;

var<workgroup> best: array<vec4<u32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32) {
  let s = sampler_at(workgroup.y);
  let base = s.row * VOCABULARY;
  let first = workgroup.x * CHUNK;
  let end = min(first + CHUNK, VOCABULARY);
  var most = -3.4e38;
  var id = 0u;
  var bad = 0u;
  for (var i = first + lane; i < end; i += LANES) {
    let logit = logits[base + i];
    if ((bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u) { bad = 1u; }
    if (logit > most) {
      most = logit;
      id = i;
    }
  }
  best[lane] = vec4(bitcast<u32>(most), id, 0u, bad);
  workgroupBarrier();
  for (var i = 0u; i < LANES; i++) {
    let other = best[i];
    let logit = bitcast<f32>(other.x);
    if (logit > most || (logit == most && other.y < id)) {
      most = logit;
      id = other.y;
    }
    bad |= other.w;
  }
  workgroupBarrier();
  var sum = 0.0;
  if (s.temperature > 0.0) {
    for (var i = first + lane; i < end; i += LANES) { sum += exp(logits[base + i] - most); }
    best[lane] = vec4(0u, 0u, bitcast<u32>(sum), 0u);
  }
  workgroupBarrier();
  if (lane == 0u) {
    sum = 0.0;
    for (var i = 0u; i < LANES; i++) { sum += bitcast<f32>(best[i].z); }
    chunks[workgroup.y * grid.x + workgroup.x] = vec4(bitcast<u32>(most), id, bitcast<u32>(sum), bad);
  }
}
