// Chooses the SLOTS experts of a token with the largest ranks; among equals, the lower index comes
// first. Each lane counts, for each of its experts, the experts that come before it. One workgroup
// per token.
override LANES: u32;
override EXPERTS: u32;
override SLOTS: u32;

var<workgroup> ranks: array<f32, EXPERTS>;
var<workgroup> chosen: array<u32, SLOTS>;

// Fills `chosen` with the best experts, best first. Each lane calls it once it has written its
// `ranks`.
fn choose(lane: u32) {
  workgroupBarrier();
  for (var e = lane; e < EXPERTS; e += LANES) {
    let own = ranks[e];
    var before = 0u;
    for (var other = 0u; other < EXPERTS; other++) {
      before += u32(ranks[other] > own || (ranks[other] == own && other < e));
    }
    if (before < SLOTS) { chosen[before] = e; }
  }
  workgroupBarrier();
}
