// Four bits (nibbles.wgsl) that are a number.
fn weights(q: Quants, i: u32) -> vec4<f32> { return four_floats(four_nibbles(q.q, i)); }
