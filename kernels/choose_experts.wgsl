// Of a token's experts the SLOTS with the largest ranks, of equals the lower number first; a lane counts,
// for each of its experts, those before it. One workgroup a token.
override LANES: u32;
override EXPERTS: u32;
override SLOTS: u32;

var<workgroup> ranks: array<f32, EXPERTS>;
var<workgroup> chosen: array<u32, SLOTS>;

// Once all lanes have written their `ranks`.
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
