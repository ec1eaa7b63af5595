/**
 * Preloaded by `deno task test:fast`: there is no WebGPU adapter, on any machine. A test that needs
 * one belongs in tests/gpu, one that starts programs into tests/program, one that computes for long into
 * tests/thorough.
 */

Object.defineProperty(navigator.gpu, "requestAdapter", { value: () => Promise.resolve(null) });
