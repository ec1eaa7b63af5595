// One of the experts that a token was routed to, and its share in the result.
struct Route { expert: u32, weight: f32 }
