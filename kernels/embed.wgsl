// h[token, :] = SCALE · E[id, :]: the embedding rows of the step's tokens; those that were sampled on the
// device and not read back yet are taken from `last`. One block of 32 an invocation.
const FEEDBACK = 0xffffffffu;
override LANES: u32;
override SCALE: f32;  // multiplies every element

@group(0) @binding(4) var<storage, read_write> h: array<vec4<f32>>;  // [token, blocks, 8]
@group(0) @binding(5) var<storage, read> last: array<u32>;           // [slot]: the token sampled last
@group(0) @binding(6) var<storage, read> batch: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = token_at(id.y);
  var row = token.id;
  if (row == FEEDBACK) { row = last[token.slot]; }
  row -= shape.first_row;  // wraps where the row is in an earlier part
  let block = id.x;
  if (row >= shape.rows || block >= shape.blocks) { return; }
  let group = row / 4u;
  let scales = load_scales(super_unit_of(group, block));
  let values = load_row(unit_of(group, block), row % 4u, block % SUPER, scales);
  for (var i = 0u; i < 8u; i++) {
    var v = values.w[i] * values.scale[i / 4u];
    if (OFFSET) { v += values.offset[i / 4u]; }
    h[(id.y * shape.blocks + block) * 8u + i] = v * SCALE;
  }
}
