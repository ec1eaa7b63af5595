// Rotates queries and keys by their positions, and appends keys and values to the paged cache.
// One invocation: two neighbouring elements of one head of one token.
override HEADS: u32;
override KV_HEADS: u32;
override HEAD_DIM: u32;
override ROPE_DIMS: u32;                // elements of a head that rotate, from its start on
override HALF: bool;                    // pairs are (i, i + ROPE_DIMS / 2), else (2i, 2i + 1)
override BETA: f32;                     // queries grow by 1 + BETA · ln(1 + position / ORIGINAL)
override ORIGINAL: u32;                 // positions up to which they do not
override LANES: u32;
override COLUMNS: bool;                 // keys of a block: [HEAD_DIM / 8, 16, 8], not [16, HEAD_DIM]
override KV_GROUPS: u32;                // see attention.wgsl
override KV_GROUP: u32;
const BLOCK_TOKENS = 16u;

@group(0) @binding(0) var<storage, read> qkv: array<f32>;          // [token, HEADS + 2·KV_HEADS, HEAD_DIM]
@group(0) @binding(1) var<storage, read_write> q: array<vec2<f32>>; // [token, HEADS, HEAD_DIM / 2]
@group(0) @binding(4) var<storage, read> angles: array<vec2<f32>>; // [position, ROPE_DIMS / 2]: cos, sin
@group(0) @binding(5) var<storage, read> batch: array<u32>;

// Element e of the head that starts at `base`, after rotation at `position`.
fn rotated(base: u32, e: u32, position: u32) -> f32 {
  if (e >= ROPE_DIMS) { return qkv[base + e]; }
  let pairs = ROPE_DIMS / 2u;
  var pair = e / 2u;
  var first = e & ~1u;
  var second = first + 1u;
  if (HALF) {
    pair = e % pairs;
    first = pair;
    second = pair + pairs;
  }
  let angle = angles[position * pairs + pair];
  let a = qkv[base + first];
  let b = qkv[base + second];
  return select(b * angle.x + a * angle.y, a * angle.x - b * angle.y, e == first);
}

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let words = HEAD_DIM / 2u;
  let head = id.x / words;
  let e = id.x % words * 2u;
  if (head >= HEADS + 2u * KV_HEADS) { return; }
  let token = token_at(id.y);
  let base = (id.y * (HEADS + 2u * KV_HEADS) + head) * HEAD_DIM;
  if (head < HEADS) {
    let grown = 1.0 + BETA * log(1.0 + f32(token.position / ORIGINAL));
    q[(id.y * HEADS + head) * words + e / 2u] =
      vec2(rotated(base, e, token.position), rotated(base, e + 1u, token.position)) * grown;
    return;
  }
  let block = batch[token.table + token.position / BLOCK_TOKENS * KV_GROUPS + KV_GROUP];
  let row = token.position % BLOCK_TOKENS;
  if (head < HEADS + KV_HEADS) {
    let start = (block * KV_HEADS + head - HEADS) * BLOCK_TOKENS * words;
    var i = start + row * words + e / 2u;
    if (COLUMNS) { i = start + (e / 8u * BLOCK_TOKENS + row) * 4u + e % 8u / 2u; }
    store_key(i, vec2(rotated(base, e, token.position), rotated(base, e + 1u, token.position)));
  } else {
    let i = ((block * KV_HEADS + head - HEADS - KV_HEADS) * BLOCK_TOKENS + row) * words + e / 2u;
    store_value(i, vec2(qkv[base + e], qkv[base + e + 1u]));
  }
}
