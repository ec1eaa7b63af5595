// Returns the group of rows where an expert's matrix starts; ELSEWHERE if it is in another part.
fn first_group_of(expert: u32) -> u32 {
  let own = expert - shape.first_expert;  // wraps if it is in an earlier part
  if (own >= shape.experts) { return ELSEWHERE; }
  return own * ((shape.rows + 3u) / 4u);
}
