// An expert to which a token is routed, and its weight in the result.
struct Route { expert: u32, weight: f32 }
