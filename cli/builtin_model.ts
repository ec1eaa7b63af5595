/** The built-in model. It is in its own module so that it is loaded only when it is used. */

import bytes from "../fixtures/builtin.gguf" with { type: "bytes" };

export default bytes;
