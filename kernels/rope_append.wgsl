// Normalizes and rotates query and key heads (rotate.wgsl), and appends keys and values to the
// paged cache. A workgroup processes one head of one token, a lane every LANES-th pair of
// neighbouring elements.
override HEADS: u32;
override KV_HEADS: u32;
override HEAD_DIM: u32;
override COLUMNS: bool;    // keys of a block are [HEAD_DIM / 8, 16, 8] instead of [16, HEAD_DIM]
override KV_GROUPS: u32;   // see attention.wgsl
override KV_GROUP: u32;
const BLOCK_TOKENS = 16u;

@group(0) @binding(1) var<storage, read_write> q: array<vec2<f32>>; // [token, HEADS, HEAD_DIM / 2]
@group(0) @binding(5) var<storage, read> batch: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let words = HEAD_DIM / 2u;
  let number = workgroup.x;
  let token = token_at(workgroup.y);
  var head = Head((workgroup.y * (HEADS + 2u * KV_HEADS) + number) * HEAD_DIM, 0u, 1.0);
  let block = batch[token.table + token.position / BLOCK_TOKENS * KV_GROUPS + KV_GROUP];
  let row = token.position % BLOCK_TOKENS;
  if (number >= HEADS + KV_HEADS) {
    let start = ((block * KV_HEADS + number - HEADS - KV_HEADS) * BLOCK_TOKENS + row) * words;
    for (var word = lane; word < words; word += LANES) {
      let e = head.base + word * 2u;
      store_value(start + word, vec2(qkv[e], qkv[e + 1u]));
    }
    return;
  }
  if (NORMED) {
    var squares = 0.0;
    for (var e = lane; e < HEAD_DIM; e += LANES) { squares += qkv[head.base + e] * qkv[head.base + e]; }
    head.scale = inverseSqrt(sum_of_lanes(squares, lane) / f32(HEAD_DIM) + EPSILON);
    if (number >= HEADS) { head.norm = HEAD_DIM; }
  }
  let grown = growth(token.position);
  for (var word = lane; word < words; word += LANES) {
    let e = word * 2u;
    let pair = vec2(rotated(head, e, token.position), rotated(head, e + 1u, token.position));
    if (number < HEADS) {
      q[(workgroup.y * HEADS + number) * words + word] = pair * grown;
    } else {
      let start = (block * KV_HEADS + number - HEADS) * BLOCK_TOKENS * words;
      var i = start + row * words + word;
      if (COLUMNS) { i = start + (e / 8u * BLOCK_TOKENS + row) * 4u + e % 8u / 2u; }
      store_key(i, pair);
    }
  }
}
