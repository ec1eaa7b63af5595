// Four bits (nibbles.wgsl) that are a number.
fn four(q: Quants, i: u32) -> u32 { return four_nibbles(q.q, i); }
