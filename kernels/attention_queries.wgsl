// Queries as rope_append.wgsl left them.
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;  // [token, HEADS, HEAD_DIM / 4]

fn prepare(own: Own, lane: u32) {}

// Eight elements of the query n, which is `row` of all.
fn load_query(n: u32, row: u32, i: u32) -> Eight {
  return Eight(q[(row * EIGHTS + i) * 2u], q[(row * EIGHTS + i) * 2u + 1u]);
}
