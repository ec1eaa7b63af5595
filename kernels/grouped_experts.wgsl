// The same products as in experts.wgsl, for slots that group_slots.wgsl has sorted. A workgroup
// serves several slots of one expert, so that they share each weight that it reads. The result of a
// slot does not depend on the other slots of its group.
const FILLER = 0xffffffffu;

// [0].x: number of entries; then expert and slot of each.
@group(0) @binding(8) var<storage, read> entries: array<vec2<u32>>;

fn entry_count() -> u32 { return entries[0].x; }

// Padding entries repeat one of the expert's slots; their result is discarded.
fn is_entry(entry: u32, count: u32) -> bool { return entries[entry + 1u].y != FILLER; }

fn row_of_x(entry: u32) -> u32 {
  var slot = entries[entry + 1u].y;
  if (slot == FILLER) { slot = entries[entry / TOKENS * TOKENS + 1u].y; }
  if (has(PER_SLOT)) { return slot; }
  return slot / shape.slots;
}

fn row_of_y(entry: u32) -> u32 { return entries[entry + 1u].y; }

fn first_group(entry: u32) -> u32 {
  if (entry >= entries[0].x) { return ELSEWHERE; }
  return first_group_of(entries[entry + 1u].x);
}
