// Multiplies all tokens, or those that the metadata lists, by one matrix.
fn entry_count() -> u32 { return batch[shape.count]; }

fn is_entry(token: u32, tokens: u32) -> bool { return token < tokens; }

fn row_of_x(token: u32) -> u32 {
  if (has(GATHER)) { return batch[batch[3] + token]; }
  return token;
}

fn row_of_y(token: u32) -> u32 { return token; }

fn first_group(token: u32) -> u32 { return 0u; }
