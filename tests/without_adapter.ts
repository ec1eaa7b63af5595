/**
 * Preloaded by `deno task test:fast`: hides the WebGPU adapter, on every machine. A test that needs
 * an adapter belongs in tests/gpu, one that starts programs in tests/program, and one that computes
 * for a long time in tests/thorough.
 */

Object.defineProperty(navigator.gpu, "requestAdapter", { value: () => Promise.resolve(null) });
