// For formats that need no table (see value_table.wgsl).
const ORDER = 1u;

fn fill_table(lane: u32) {}
