// Quants of four bits (nibbles.wgsl) that are plain numbers.
fn four(q: Quants, i: u32) -> u32 { return four_nibbles(q.q, i); }
