// For formats without scales.
struct Scales { none: u32 }

fn load_scales(super_unit: Unit, part: u32) -> Scales { return Scales(0u); }

fn row_scale(scales: Scales, r: u32) -> RowScale {
  return RowScale(vec2(1.0), vec2(0.0));
}

fn next_scales(scales: Scales, super_unit: Unit, part: u32) -> Scales { return scales; }
