// RMSNorm of query and key heads (if NORMED), and their rotation by a token's position.
override EPSILON: f32;
override ROPE_DIMS: u32;  // elements of a head that are rotated, from its start
override HALF: bool;      // pairs are (i, i + ROPE_DIMS / 2) instead of (2i, 2i + 1)
override BETA: f32;       // queries are multiplied by 1 + BETA · ln(1 + ⌊position / ORIGINAL⌋)
override ORIGINAL: u32;

@group(0) @binding(0) var<storage, read> qkv: array<f32>;          // [token, HEADS + 2·KV_HEADS, HEAD_DIM]
@group(0) @binding(8) var<storage, read> angles: array<vec2<f32>>; // [position, ROPE_DIMS / 2]: cos, sin
@group(0) @binding(9) var<storage, read> norms: array<f32>;        // [2, HEAD_DIM]: of queries, of keys

// A head: its start in qkv, the start of its weights in `norms`, and the scale of its RMSNorm.
struct Head { base: u32, norm: u32, scale: f32 }

fn normed(head: Head, e: u32) -> f32 {
  var v = qkv[head.base + e];
  if (NORMED) { v *= head.scale * norms[head.norm + e]; }
  return v;
}

// Returns element e of a head, normalized and rotated by `position`.
fn rotated(head: Head, e: u32, position: u32) -> f32 {
  if (e >= ROPE_DIMS) { return normed(head, e); }
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
  let a = normed(head, first);
  let b = normed(head, second);
  return select(b * angle.x + a * angle.y, a * angle.x - b * angle.y, e == first);
}

fn growth(position: u32) -> f32 { return 1.0 + BETA * log(1.0 + f32(position / ORIGINAL)); }
