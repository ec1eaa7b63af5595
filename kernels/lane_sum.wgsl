// Sums one value of each of a workgroup's LANES lanes, in a fixed order.
override LANES: u32;

var<workgroup> lane_parts: array<f32, LANES>;

fn sum_of_lanes(own: f32, lane: u32) -> f32 {
  lane_parts[lane] = own;
  workgroupBarrier();
  var sum = 0.0;
  for (var other = 0u; other < LANES; other++) { sum += lane_parts[other]; }
  return sum;
}
