// IQ4_XS: w = d·(sc − 32)·table[q]; sc, six bits, per span of 32. A row's superblock has f16 d, the high
// pairs of bits of sc in the same word's upper half, and their low nibbles in a word of its own.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // 2 words, of two rows each

struct Scales { s: array<vec4<u32>, 2> }

fn load_scales(super_unit: u32) -> Scales {
  return Scales(array(packed_scales[word_of(super_unit, 2u, 0u)],
    packed_scales[word_of(super_unit, 2u, 1u)]));
}

fn row_scale(scales: Scales, r: u32, part: u32) -> RowScale {
  let pair = scales.s[r / 2u];
  let s = select(pair.xy, pair.zw, r % 2u == 1u);
  let sc = ((s.y >> (part * 4u)) & 15u) | (((s.x >> (16u + part * 2u)) & 3u) << 4u);
  return RowScale(vec2(unpack2x16float(s.x).x * (f32(sc) - 32.0)), vec2(0.0));
}
