// h[token, :] = SCALE · E[id, :]: gathers the embedding rows of the step's tokens. The ids of
// tokens that were sampled on the device and not yet read back are in `last`. One span of 32 per
// invocation.
const FEEDBACK = 0xffffffffu;
override LANES: u32;
override SCALE: f32;  // multiplies every element

@group(0) @binding(4) var<storage, read_write> h: array<vec4<f32>>;  // [token, spans, 8]
@group(0) @binding(5) var<storage, read> last: array<u32>;           // [slot]: the token sampled last
@group(0) @binding(6) var<storage, read> batch: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = token_at(id.y);
  var row = token.id;
  if (row == FEEDBACK) { row = last[token.slot]; }
  row -= shape.first_row;  // wraps if the row is in an earlier part
  let span = id.x;
  if (row >= shape.rows || span >= shape.spans) { return; }
  let group = row / 4u;
  let scales = load_scales(super_unit_of(place_of(group), span), span % SUPER);
  var q: Quants;
  let scale = row_scale(scales, row % 4u);
  for (var i = 0u; i < 8u; i++) {
    if (i % (8u / PIECES) == 0u) {
      q = load_quants(unit_of(place_of(group), span), row % 4u, i / (8u / PIECES));
    }
    var v = weights(q, i) * scale.scale[i / 4u];
    if (OFFSET) { v += scale.offset[i / 4u]; }
    h[(id.y * shape.spans + span) * 8u + i] = v * SCALE;
  }
}
