// Converts weights that are bytes to floats.
fn weights(q: Quants, i: u32) -> vec4<f32> { return four_floats(four(q, i)); }
