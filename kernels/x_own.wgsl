// Activations of one block of 32, each invocation loading all of it; caches do the sharing.
struct Block { x: array<vec4<f32>, 8>, squares: f32 }

fn load_block(token: u32, block: u32, lane: u32) -> Block {
  let base = (token * shape.blocks + block) * 8u;
  var out: Block;
  for (var i = 0u; i < 8u; i++) {
    let v = x[base + i];
    if (has(NORM)) { out.squares += dot(v, v); }
    out.x[i] = v;
    if (has(NORM)) { out.x[i] *= norm_weight[block * 8u + i]; }
  }
  return out;
}

fn total_squares(own: f32) -> f32 { return own; }
