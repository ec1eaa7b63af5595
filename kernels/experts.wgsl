// A product of each token with the matrices of the experts to which it was routed. Each row of y is
// one of a token's slots. A workgroup serves one slot, because neighbouring slots rarely share an
// expert.
@group(0) @binding(8) var<storage, read> routes: array<Route>;  // [token, slots]

fn entry_count() -> u32 { return batch[0] * shape.slots; }

fn is_entry(entry: u32, count: u32) -> bool { return entry < count; }

fn row_of_x(entry: u32) -> u32 {
  if (has(PER_SLOT)) { return entry; }
  return entry / shape.slots;
}

fn row_of_y(entry: u32) -> u32 { return entry; }

fn first_group(entry: u32) -> u32 { return first_group_of(routes[entry].expert); }
