/**
 * Forms of the integer dot product, and how each processes a span. One step multiplies a vector of
 * weights (four rows × 4 columns) by the same 4 columns of activations, repeated for each row.
 */

import {
  type Code,
  type FunctionBuilder,
  get,
  i32,
  load,
  type Local,
  op,
  set,
  shuffle32,
  splatI32,
} from "./assembler.ts";
import { type ActivationKind, type Encoding, RECORD } from "./activations.ts";
import { type IntegerFormat, isSigned, largestWeight } from "./formats.ts";

/**
 * "dot32" and "dot16": relaxed dot products on two planes of bytes, with results of 32 or 16 bits.
 * "plain": dot products of 16-bit integers, which every engine supports. Which form is fastest
 * depends on the processor.
 */
export type ProductForm = "dot32" | "dot16" | "plain";

export const PRODUCT_FORMS: readonly ProductForm[] = ["dot32", "dot16", "plain"];

/** Returns the encoding that activations need for weights of `format`. */
export function encodingFor(format: IntegerFormat, form: ProductForm): Encoding {
  const { group } = format;
  // A negative zero is compensated for in the minimum.
  const zero = Math.max(0, format.zero);
  let kind: ActivationKind = "planes";
  if (form === "plain") kind = "words";
  else if (isSigned(format)) kind = "offset";
  return { kind, group, zero };
}

/** Code that sums the products of the panels' rows and the tokens over one group of columns. */
export interface Sums {
  /** Initializes the sums before a group. */
  start(): Code;
  /**
   * Adds the products of a vector of each panel's weights and the tokens' columns
   * `column` … `column + 3`, which are loaded once for all panels.
   */
  step(weights: readonly Local[], column: number): Code;
  /** Returns the sums of a panel's four rows for a token, as integers. */
  finish(panel: number, token: number): Code;
  /**
   * For signed weights, after a group without tokens: returns the value of `offsets` for a panel.
   */
  offset?(panel: number): Code;
}

interface SumsOptions {
  readonly f: FunctionBuilder;
  readonly format: IntegerFormat;
  readonly form: ProductForm;
  /** Addresses of the tokens' records for the span. */
  readonly tokens: readonly Local[];
  /** The half of the span that the group is, or 0 if the group is the whole span. */
  readonly half: 0 | 1;
  /** Address of the span's offsets if they have been computed: [PANELS] vectors; see `offset`. */
  readonly offsets?: Local;
}

/** Whether products of the format need offsets, which are the same for all tokens. */
export function hasOffsets(format: IntegerFormat, form: ProductForm): boolean {
  return form !== "plain" && isSigned(format);
}

/** The locals of one panel. Arrays are [tokens]. */
interface PanelLocals {
  readonly first: readonly Local[];
  readonly second: readonly Local[];
  /** Sums of 16 bits, which are widened before they can overflow. */
  readonly partFirst: readonly Local[];
  readonly partSecond: readonly Local[];
  /** Σ weights, if they are signed. */
  readonly weights: Local;
  readonly part: Local;
  readonly low: Local;
  readonly high: Local;
}

interface SumLocals {
  readonly panels: readonly PanelLocals[];
  /** [tokens]: 16 columns of both planes, or 8 columns of words. */
  readonly columns: readonly { readonly first: Local; readonly second: Local }[];
  /** Four of these columns, repeated for each row. */
  readonly x: Local;
}

/** Allocates the locals for `sums`. */
export function sumLocals(f: FunctionBuilder, panels: number, tokens: number): SumLocals {
  return {
    panels: Array.from({ length: panels }, () => ({
      first: f.locals("v128", tokens),
      second: f.locals("v128", tokens),
      partFirst: f.locals("v128", tokens),
      partSecond: f.locals("v128", tokens),
      weights: f.local("v128"),
      part: f.local("v128"),
      low: f.local("v128"),
      high: f.local("v128"),
    })),
    columns: Array.from({ length: tokens }, () => ({
      first: f.local("v128"),
      second: f.local("v128"),
    })),
    x: f.local("v128"),
  };
}

export function sums(locals: SumLocals, options: SumsOptions): Sums {
  if (options.form === "plain") return plainSums(locals, options);
  return isSigned(options.format) ? signedSums(locals, options) : planeSums(locals, options);
}

const ZERO = splatI32(0);
const ONES = splatI32(0x01010101);

/** Returns four of 16 columns, starting at `column`, repeated for each row. */
function repeated(columns: Local, column: number): Code {
  const lane = column % 16 / 4;
  return shuffle32(get(columns), get(columns), [lane, lane, lane, lane]);
}

/** Loads 16 columns of both planes of each token, if `column` is the first of the 16. */
function loadColumns(
  columns: SumLocals["columns"],
  tokens: readonly Local[],
  column: number,
): Code {
  if (column % 16 > 0) return [];
  return tokens.flatMap((row, t) => [
    ...set(columns[t]!.first, load("v128.load", get(row), column)),
    ...set(columns[t]!.second, load("v128.load", get(row), 32 + column)),
  ]);
}

/** Returns −zero · Σ activations of this group, as integers. */
function correction({ format, tokens, half }: SumsOptions, token: number): Code {
  return format.zero > 0
    ? load("v128.load32_splat", get(tokens[token]!), RECORD.corrections[half]!)
    : ZERO;
}

/**
 * The destination of a product: its sum, a 16-bit sum for some steps, and the index of the step in
 * its group.
 */
interface Accumulation {
  readonly sum: Local;
  readonly part: Local;
  readonly index: number;
}

/**
 * Returns a function that accumulates in 32 bits, or in 16 bits for as many steps as cannot
 * overflow: a product of two bytes is at most 128 times the largest weight, and each 16-bit sum
 * adds two of them.
 */
function accumulator(form: ProductForm, format: IntegerFormat) {
  const most = Math.floor(32767 / (2 * 128 * largestWeight(format)));
  // The steps divide a group evenly, because a 16-bit sum left over at its end would be lost.
  const steps = Math.min(format.group / 4, 2 ** Math.floor(Math.log2(Math.max(1, most))));
  return ({ sum, part, index }: Accumulation, a: Code, b: Code): Code => {
    if (form === "dot32") {
      return set(sum, op("i32x4.relaxed_dot_i8x16_i7x16_add_s", a, b, get(sum)));
    }
    const product = op("i16x8.relaxed_dot_i8x16_i7x16_s", a, b);
    const begin = index % steps === 0;
    const end = index % steps === steps - 1;
    const total = begin ? product : op("i16x8.add", get(part), product);
    return end
      ? set(sum, op("i32x4.add", get(sum), op("i32x4.extadd_pairwise_i16x8_s", total)))
      : set(part, total);
  };
}

/** Sums for unsigned weights of at most 6 bits, with activations in two signed planes. */
function planeSums({ panels, columns, x }: SumLocals, options: SumsOptions): Sums {
  const { tokens, form, format } = options;
  const add = accumulator(form, format);
  let steps = 0;
  return {
    start: () => {
      steps = 0;
      return panels.flatMap(({ first, second }, p) =>
        tokens.flatMap((_, t) => [
          ...set(first[t]!, ZERO),
          ...set(second[t]!, p === 0 ? correction(options, t) : get(panels[0]!.second[t]!)),
        ])
      );
    },
    step: (weights, column) => {
      const index = steps++;
      return [
        loadColumns(columns, tokens, column),
        ...tokens.flatMap((_, t) => [
          ...set(x, repeated(columns[t]!.first, column)),
          ...panels.flatMap(({ first, partFirst }, p) =>
            add({ sum: first[t]!, part: partFirst[t]!, index }, get(x), get(weights[p]!))
          ),
          ...set(x, repeated(columns[t]!.second, column)),
          ...panels.flatMap(({ second, partSecond }, p) =>
            add({ sum: second[t]!, part: partSecond[t]!, index }, get(x), get(weights[p]!))
          ),
        ]),
      ];
    },
    finish: (p, t) => {
      const { first, second } = panels[p]!;
      return op("i32x4.add", op("i32x4.shl", get(first[t]!), i32(8)), get(second[t]!));
    },
  };
}

/**
 * Sums for signed weights of 8 bits. The activations are offset by 8192, so Σ w · x is computed as
 * Σ w · (x + 8192) − 8192 · Σ w. In the high seven bits of x + 8192, the offset is 64.
 */
function signedSums({ panels, columns, x }: SumLocals, options: SumsOptions): Sums {
  const { tokens, form, format, offsets } = options;
  const add = accumulator(form, format);
  let steps = 0;
  const offset = (p: number) =>
    op("i32x4.sub", ZERO, op("i32x4.shl", get(panels[p]!.weights), i32(6)));
  return {
    start: () => {
      steps = 0;
      return panels.flatMap(({ first, second, weights }, p) => [
        ...(offsets ? [] : set(weights, ZERO)),
        ...first.flatMap((sum) =>
          set(sum, offsets ? load("v128.load", get(offsets), 16 * p) : ZERO)
        ),
        ...second.flatMap((sum) => set(sum, ZERO)),
      ]);
    },
    step: (weights, column) => {
      const index = steps++;
      return [
        ...loadColumns(columns, tokens, column),
        ...panels.flatMap((panel, p) =>
          offsets ? [] : add(
            { sum: panel.weights, part: panel.part, index },
            get(weights[p]!),
            options.f.constant(ONES),
          )
        ),
        ...tokens.flatMap((_, t) => [
          ...set(x, repeated(columns[t]!.first, column)),
          ...panels.flatMap(({ first, partFirst }, p) =>
            add({ sum: first[t]!, part: partFirst[t]!, index }, get(weights[p]!), get(x))
          ),
          ...set(x, repeated(columns[t]!.second, column)),
          ...panels.flatMap(({ second, partSecond }, p) =>
            add({ sum: second[t]!, part: partSecond[t]!, index }, get(weights[p]!), get(x))
          ),
        ]),
      ];
    },
    finish: (p, t) => {
      const { first, second } = panels[p]!;
      const high = offsets ? get(first[t]!) : op("i32x4.add", get(first[t]!), offset(p));
      return op("i32x4.add", op("i32x4.shl", high, i32(7)), get(second[t]!));
    },
    offset,
  };
}

/**
 * Sums for weights widened to 16 bits, two rows per vector. Each row's sum is in two lanes until
 * the end.
 */
function plainSums({ panels, columns, x }: SumLocals, options: SumsOptions): Sums {
  const { tokens } = options;
  const add = (sum: Local, weights: Local) =>
    set(sum, op("i32x4.add", get(sum), op("i32x4.dot_i16x8_s", get(weights), get(x))));
  return {
    start: () =>
      panels.flatMap(({ first, second }) => [...first, ...second].flatMap((sum) => set(sum, ZERO))),
    step: (weights, column) => [
      ...panels.flatMap(({ low, high }, p) => [
        ...set(low, op("i16x8.extend_low_i8x16_s", get(weights[p]!))),
        ...set(high, op("i16x8.extend_high_i8x16_s", get(weights[p]!))),
      ]),
      ...tokens.flatMap((row, t) => [
        ...(column % 8 === 0
          ? set(columns[t]!.first, load("v128.load", get(row), 2 * column))
          : []),
        ...set(
          x,
          shuffle32(
            get(columns[t]!.first),
            get(columns[t]!.first),
            column % 8 === 0 ? [0, 1, 0, 1] : [2, 3, 2, 3],
          ),
        ),
        ...panels.flatMap(({ first, second, low, high }) => [
          ...add(first[t]!, low),
          ...add(second[t]!, high),
        ]),
      ]),
    ],
    finish: (p, t) => {
      const { first, second } = panels[p]!;
      const both = op(
        "i32x4.add",
        shuffle32(get(first[t]!), get(second[t]!), [0, 2, 4, 6]),
        shuffle32(get(first[t]!), get(second[t]!), [1, 3, 5, 7]),
      );
      return options.format.zero > 0 ? op("i32x4.add", both, correction(options, t)) : both;
    },
  };
}
