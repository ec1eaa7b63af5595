/** The model that tvllm carries; a module of its own, so that it is read only when it is used. */

import bytes from "../fixtures/builtin.gguf" with { type: "bytes" };

export default bytes;
