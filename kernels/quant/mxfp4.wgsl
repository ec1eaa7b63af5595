// MXFP4: four bits per weight (nibbles.wgsl): a sign, and three bits m that select the magnitude 0,
// 1, 2, 3, 4, 6, 8 or 12. To get unsigned bytes, 12 is added to the signed magnitude: w =
// d·(q − 12) / 2. In kernels whose lanes share workgroup memory, value_table.wgsl looks the values
// up.

// Sets each of four bytes to all ones if its bit `bit` is set, to 0 otherwise.
fn byte_mask(bytes: u32, bit: u32) -> u32 { return ((bytes >> bit) & 0x01010101u) * 255u; }

fn four(q: Quants, i: u32) -> u32 {
  let n = four_nibbles(q.q, i);
  let small = n & 0x03030303u;                       // m < 4: m itself
  let even = ((n & 0x01010101u) << 1u) | 0x04040404u;  // m = 4 or 5: 4 or 6
  let large = even + (even & byte_mask(n, 1u));        // m = 6 or 7: twice that
  let magnitude = small ^ ((small ^ large) & byte_mask(n, 2u));
  return magnitude + 0x0c0c0c0cu - ((magnitude & byte_mask(n, 3u)) << 1u);
}

fn row_scale(scales: Scales, r: u32) -> RowScale {
  return RowScale(vec2(0.5 * scales.d[r]), vec2(-6.0 * scales.d[r]));
}
