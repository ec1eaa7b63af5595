// In steps of one token per sequence, attention also does the work of rope_append.wgsl. Each
// workgroup normalizes and rotates its own queries (rotate.wgsl). Workgroups that process the
// token's own position append its key and value first. If several of them share a KV head, they
// write the same data.
var<workgroup> rotated_queries: array<array<Eight, EIGHTS>, QUERIES>;
var<workgroup> head_scales: array<f32, QUERIES + 1u>;  // of the queries, then of the key

fn raw(base: u32) -> Eight {
  return Eight(vec4(qkv[base], qkv[base + 1u], qkv[base + 2u], qkv[base + 3u]),
    vec4(qkv[base + 4u], qkv[base + 5u], qkv[base + 6u], qkv[base + 7u]));
}

fn rotated_eight(head: Head, e: u32, position: u32) -> Eight {
  return Eight(
    vec4(rotated(head, e, position), rotated(head, e + 1u, position), rotated(head, e + 2u, position),
      rotated(head, e + 3u, position)),
    vec4(rotated(head, e + 4u, position), rotated(head, e + 5u, position), rotated(head, e + 6u, position),
      rotated(head, e + 7u, position)));
}

fn prepare(own: Own, lane: u32) {
  let position = token_at(own.token).position;
  let base = own.token * (HEADS + 2u * KV_HEADS);
  if (NORMED) {
    var squares = Row();
    for (var n = 0u; n < QUERIES; n++) {
      let start = (base + query_head(own, n)) * HEAD_DIM;
      for (var e = lane; e < HEAD_DIM; e += KEYS) { squares.v[n / 4u][n % 4u] += qkv[start + e] * qkv[start + e]; }
    }
    let of_queries = sum_of_all(lane, squares);
    squares = Row();
    let start = (base + HEADS + own.kv_head) * HEAD_DIM;
    for (var e = lane; e < HEAD_DIM; e += KEYS) { squares.v[0].x += qkv[start + e] * qkv[start + e]; }
    let of_key = sum_of_all(lane, squares);
    if (lane == 0u) {
      for (var n = 0u; n < QUERIES; n++) {
        head_scales[n] = inverseSqrt(of_queries.v[n / 4u][n % 4u] / f32(HEAD_DIM) + EPSILON);
      }
      head_scales[QUERIES] = inverseSqrt(of_key.v[0].x / f32(HEAD_DIM) + EPSILON);
    }
    workgroupBarrier();
  }
  for (var i = lane; i < QUERIES * EIGHTS; i += KEYS) {
    let n = i / EIGHTS;
    let head = Head((base + query_head(own, n)) * HEAD_DIM, 0u, head_scales[n]);
    var e = rotated_eight(head, i % EIGHTS * 8u, position);
    e.lo *= growth(position);
    e.hi *= growth(position);
    rotated_queries[n][i % EIGHTS] = e;
  }
  if (own.appends) {
    let block = batch[token_at(own.token).table + position / BLOCK_TOKENS * KV_GROUPS + KV_GROUP];
    let row = (block * KV_HEADS + own.kv_head) * BLOCK_TOKENS;
    for (var i = lane; i < 2u * EIGHTS; i += KEYS) {
      let eight = i % EIGHTS;
      if (i < EIGHTS) {
        let head = Head((base + HEADS + own.kv_head) * HEAD_DIM, HEAD_DIM, head_scales[QUERIES]);
        append_key(row * EIGHTS + eight * BLOCK_TOKENS + position % BLOCK_TOKENS,
          rotated_eight(head, eight * 8u, position));
      } else {
        append_value((row + position % BLOCK_TOKENS) * EIGHTS + eight,
          raw((base + HEADS + KV_HEADS + own.kv_head) * HEAD_DIM + eight * 8u));
      }
    }
  }
  storageBarrier();
  workgroupBarrier();
}

fn load_query(n: u32, row: u32, i: u32) -> Eight { return rotated_queries[n][i]; }
