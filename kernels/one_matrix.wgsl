// A matrix product of all tokens, or of those that the metadata lists, with one matrix.
fn rows_of_y() -> u32 { return batch[shape.count]; }

fn row_of_x(token: u32) -> u32 {
  if (has(GATHER)) { return batch[batch[3] + token]; }
  return token;
}

fn first_group(token: u32) -> u32 { return 0u; }
