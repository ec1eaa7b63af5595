// A convolution over the last TAPS tokens of each sequence, channel by channel, followed by silu;
// in place. An invocation processes one channel of a sequence. It keeps the last TAPS - 1 inputs in
// `states` for the next step; inputs before position 0 are zeros. With BIAS, a bias per channel is
// added before silu.
override CHANNELS: u32;
override LANES: u32;
override BIAS: bool;

@group(0) @binding(0) var<storage, read_write> x: array<f32>;       // [token, CHANNELS]
// [CHANNELS, TAPS], the newest token's weight last; with BIAS, then [CHANNELS].
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> states: array<f32>;  // [slot, TAPS - 1, CHANNELS]
@group(0) @binding(3) var<storage, read> batch: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= CHANNELS) { return; }
  let sequence = sequence_at(id.y);
  let base = sequence.slot * PAST * CHANNELS + id.x;
  var past: array<f32, PAST>;
  for (var i = 0u; i < PAST; i++) {
    past[i] = select(states[base + i * CHANNELS], 0.0, sequence.start == 0u);
  }
  let end = sequence.first + sequence.count;
  for (var token = sequence.first; token < end; token++) {
    let at = token * CHANNELS + id.x;
    let value = x[at];
    var sum = value * weights[id.x * TAPS + PAST];
    if (BIAS) { sum += weights[CHANNELS * TAPS + id.x]; }
    for (var i = 0u; i < PAST; i++) { sum += past[i] * weights[id.x * TAPS + i]; }
    for (var i = 1u; i < PAST; i++) { past[i - 1u] = past[i]; }
    past[PAST - 1u] = value;
    x[at] = sum / (1.0 + exp(-sum));
  }
  for (var i = 0u; i < PAST; i++) { states[base + i * CHANNELS] = past[i]; }
}
