// The smallest possible dispatch.
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

@compute @workgroup_size(1)
fn main() {
  sums[0] = 1u;
}
