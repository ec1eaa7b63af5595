/** Finds the form of the integer dot product that is fastest on this processor. */

import {
  brIf,
  type Code,
  get,
  i32,
  load,
  loop,
  ModuleBuilder,
  op,
  set,
  splatI32,
  store,
} from "../../kernels/wasm/assembler.ts";
import { PRODUCT_FORMS, type ProductForm } from "../../kernels/wasm/products.ts";

/** Names of the forms for display. */
export const FORM_NAMES: Readonly<Record<ProductForm, string>> = {
  dot32: "32-bit relaxed dot products",
  dot16: "16-bit relaxed dot products",
  plain: "plain SIMD",
};

/**
 * Rounds, and milliseconds per round, for which each form is timed, interleaved with the others:
 * long enough for V8 to optimize its code.
 */
const ROUNDS = 8;
const ROUND_MS = 0.4;
/**
 * Rounds before a form other than the first is accepted as the fastest, because V8 may optimize
 * late on a busy machine.
 */
const SURE_ROUNDS = 40;
/** Loop iterations per call. */
const ITERATIONS = 2000;
/** Vectors of weights per iteration. Each has two sums, like a panel and a token in the kernels. */
const VECTORS = 4;

/** Whether the engine supports the instructions of a form. */
function isAvailable(form: ProductForm): boolean {
  return WebAssembly.validate(timingModule(form));
}

/**
 * Returns the forms that this engine supports, and the time that each takes for the same products,
 * in ms.
 */
export function timeForms(): { readonly form: ProductForm; readonly milliseconds: number }[] {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const forms = PRODUCT_FORMS.filter(isAvailable).map((form) => {
    const module = new WebAssembly.Module(timingModule(form));
    const { run } = new WebAssembly.Instance(module, { env: { memory } }).exports;
    return { form, run: run as (iterations: number) => void, milliseconds: Infinity };
  });
  const fastest = () => forms.reduce((a, b) => b.milliseconds < a.milliseconds ? b : a);
  const isSure = (rounds: number) => rounds >= (fastest() === forms[0] ? ROUNDS : SURE_ROUNDS);
  for (let round = 0; !isSure(round); round++) {
    for (const form of forms) {
      const end = performance.now() + ROUND_MS;
      for (let now = performance.now(); now < end;) {
        form.run(ITERATIONS);
        const then = performance.now();
        form.milliseconds = Math.min(form.milliseconds, then - now);
        now = then;
      }
    }
  }
  return forms.map(({ form, milliseconds }) => ({ form, milliseconds }));
}

export function fastestForm(): ProductForm {
  return timeForms().reduce((a, b) => b.milliseconds < a.milliseconds ? b : a).form;
}

/**
 * Returns a module with a function that repeats what the kernels do with each vector of weights.
 */
function timingModule(form: ProductForm): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder(false);
  const run = module.add(["i32"], [], (f, [iterations]) => {
    const sums = Array.from({ length: VECTORS }, () => f.locals("v128", 2));
    const x = f.locals("v128", 2), w = f.local("v128"), wide = f.locals("v128", 2);
    const add = (sum: typeof w, value: Code) => set(sum, op("i32x4.add", get(sum), value));
    const products = (pair: readonly (typeof w)[]): Code => {
      switch (form) {
        case "dot32":
          return pair.flatMap((sum, i) =>
            set(sum, op("i32x4.relaxed_dot_i8x16_i7x16_add_s", get(x[i]!), get(w), get(sum)))
          );
        case "dot16":
          return pair.flatMap((sum, i) => {
            const product = op("i16x8.relaxed_dot_i8x16_i7x16_s", get(x[i]!), get(w));
            return set(sum, op("i16x8.add", get(sum), product));
          });
        case "plain":
          return [
            ...set(wide[0]!, op("i16x8.extend_low_i8x16_s", get(w))),
            ...set(wide[1]!, op("i16x8.extend_high_i8x16_s", get(w))),
            ...pair.flatMap((sum, i) =>
              add(sum, op("i32x4.dot_i16x8_s", get(wide[i]!), get(x[0]!)))
            ),
          ];
      }
    };
    // "plain" has both planes of the activations in one vector.
    const planes = form === "plain" ? x.slice(0, 1) : x;
    return [
      ...loop(
        ...sums.map((pair, i) => [
          set(w, op("v128.and", load("v128.load", i32(128), 16 * i), splatI32(0x0f0f0f0f))),
          ...planes.map((plane, p) =>
            set(plane, load("v128.load32_splat", i32(64), 4 * (i + 8 * p)))
          ),
          products(pair),
        ]),
        set(iterations!, op("i32.sub", get(iterations!), i32(1))),
        brIf(0, get(iterations!)),
      ),
      ...sums.flat().flatMap((sum, i) => store("v128.store", i32(256), 16 * i, get(sum))),
    ];
  });
  module.export("run", run);
  return module.build(1);
}
