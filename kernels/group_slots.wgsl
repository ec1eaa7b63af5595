// Sorts the slots of all tokens by expert, for products that serve several slots at once: every
// TOKENS entries belong to one expert, and the last of an expert's groups is padded. There is one
// workgroup; each lane processes whole experts.
override LANES: u32;
override EXPERTS: u32;
override SLOTS: u32;
override TOKENS: u32;

const FILLER = 0xffffffffu;

@group(0) @binding(0) var<storage, read> routes: array<Route>;             // [token, SLOTS]
// [0].x: number of entries; then expert and slot of each.
@group(0) @binding(1) var<storage, read_write> entries: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> batch: array<u32>;

var<workgroup> sizes: array<u32, EXPERTS>;  // slots per expert, padding included

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let slots = batch[0] * SLOTS;
  for (var e = lane; e < EXPERTS; e += LANES) {
    var count = 0u;
    for (var s = 0u; s < slots; s++) { count += u32(routes[s].expert == e); }
    sizes[e] = (count + TOKENS - 1u) / TOKENS * TOKENS;
  }
  workgroupBarrier();
  for (var e = lane; e < EXPERTS; e += LANES) {
    var at = 1u;
    for (var before = 0u; before < e; before++) { at += sizes[before]; }
    let end = at + sizes[e];
    for (var s = 0u; s < slots; s++) {
      if (routes[s].expert == e) {
        entries[at] = vec2(e, s);
        at++;
      }
    }
    for (; at < end; at++) { entries[at] = vec2(e, FILLER); }
    if (e == EXPERTS - 1u) { entries[0] = vec2(end - 1u, 0u); }
  }
}
