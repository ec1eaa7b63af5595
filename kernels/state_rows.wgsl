// Loads and stores a lane's share of a row of a state: VECTORS vectors of its columns, starting at
// `base`.
override VALUE_DIM: u32;

@group(0) @binding(3) var<storage, read_write> states: array<f32>;  // [slot, VALUE_HEADS, KEY_DIM, VALUE_DIM]

// Returns zeros if the sequence starts afresh.
fn load_state(base: u32, fresh: bool) -> array<vec4<f32>, VECTORS> {
  var state: array<vec4<f32>, VECTORS>;
  for (var i = 0u; i < VECTORS; i++) {
    let at = base + i * 4u * VALUE_DIM;
    let kept = vec4(
      states[at], states[at + VALUE_DIM], states[at + 2u * VALUE_DIM], states[at + 3u * VALUE_DIM],
    );
    state[i] = select(kept, vec4(0.0), fresh);
  }
  return state;
}

fn store_state(base: u32, state: array<vec4<f32>, VECTORS>) {
  var kept = state;
  for (var i = 0u; i < VECTORS; i++) {
    let at = base + i * 4u * VALUE_DIM;
    states[at] = kept[i].x;
    states[at + VALUE_DIM] = kept[i].y;
    states[at + 2u * VALUE_DIM] = kept[i].z;
    states[at + 3u * VALUE_DIM] = kept[i].w;
  }
}
