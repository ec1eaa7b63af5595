// Reads the queries that rope_append.wgsl has rotated.
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;  // [token, HEADS, HEAD_DIM / 4]

fn prepare(own: Own, lane: u32) {}

// Returns eight elements of query n, which is row `row` of q.
fn load_query(n: u32, row: u32, i: u32) -> Eight {
  return Eight(q[(row * EIGHTS + i) * 2u], q[(row * EIGHTS + i) * 2u + 1u]);
}
