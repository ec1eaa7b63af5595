// A matrix product of each token with the matrices of the experts that it was routed to. A row of y
// is one of a token's slots; a workgroup serves one, so that an expert's weights are read once for
// each token that it serves: in a decode step no oftener than need be, in a prefill oftener.
@group(0) @binding(8) var<storage, read> routes: array<Route>;  // [token, slots]

fn rows_of_y() -> u32 { return batch[0] * shape.slots; }

fn row_of_x(slot: u32) -> u32 {
  if (has(PER_SLOT)) { return slot; }
  return slot / shape.slots;
}

// Where the slot's expert starts; ELSEWHERE if it is in another part of the matrix.
fn first_group(slot: u32) -> u32 {
  let expert = routes[slot].expert - shape.first_expert;  // wraps if it is in an earlier part
  if (expert >= shape.experts) { return ELSEWHERE; }
  return expert * ((shape.rows + 3u) / 4u);
}
