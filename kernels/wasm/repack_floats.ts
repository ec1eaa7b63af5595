/** Packs rows of floats into strips, in which the eight rows of a column are contiguous. */

import {
  type Code,
  FunctionBuilder,
  get,
  i32,
  load,
  type Local,
  ModuleBuilder,
  op,
  set,
  shuffle,
  splatI32,
  store,
} from "./assembler.ts";
import { columnBytes, type FloatFormat, STRIP_ROWS } from "./formats.ts";
import { whileCount } from "./math.ts";
import { HALF_EXPONENTS } from "./normalize.ts";

/** Columns that are transposed at once: eight 16-bit values of a row. */
const COLUMNS = 8;

interface Rows {
  /** Addresses of the strip's rows, which the code advances. */
  readonly rows: readonly Local[];
  readonly out: Local;
  readonly format: FloatFormat;
  readonly columns: Code;
  /** Set to the largest exponents of float16 values, in any lanes. */
  readonly exponents: Local;
}

export function packFloats(module: ModuleBuilder, f: FunctionBuilder, given: Rows): Code {
  const { rows, out, format, columns, exponents } = given;
  const at = f.local(module.address), count = f.local("i32");
  const bytes = columnBytes(format), size = bytes / STRIP_ROWS;
  const move = (pointer: Local, by: number) =>
    set(pointer, module.plus(get(pointer), module.addressConst(by)));
  const moveAll = (count: number) => [
    ...rows.flatMap((row) => move(row, count * size)),
    ...move(at, count * bytes),
  ];
  const note = (vector: Code) =>
    format.quants === "f16"
      ? set(
        exponents,
        op("i16x8.max_u", get(exponents), op("v128.and", vector, HALF_EXPONENTS)),
      )
      : [];
  const one = [
    ...rows.flatMap((row, i) =>
      size === 2
        ? store("i32.store16", get(at), 2 * i, load("i32.load16_u", get(row)))
        : store("i32.store", get(at), 4 * i, load("i32.load", get(row)))
    ),
    ...note(load("v128.load", get(at))),
    ...moveAll(1),
  ];
  const begin = [...set(at, get(out)), ...set(exponents, splatI32(0))];
  if (size === 4) return [...begin, ...set(count, columns), ...whileCount(count, 1, one)];
  const values = f.locals("v128", STRIP_ROWS);
  const transposed = transpose(f, values);
  return [
    ...begin,
    ...set(count, op("i32.and", columns, i32(-COLUMNS))),
    ...whileCount(count, COLUMNS, [
      ...rows.flatMap((row, i) => [
        ...set(values[i]!, load("v128.load", get(row))),
        ...note(get(values[i]!)),
      ]),
      ...transposed.code,
      ...transposed.columns.flatMap((column, c) => store("v128.store", get(at), bytes * c, column)),
      ...moveAll(COLUMNS),
    ]),
    ...set(count, op("i32.and", columns, i32(COLUMNS - 1))),
    ...whileCount(count, 1, one),
  ];
}

/** Transposes eight rows of eight 16-bit values. `columns` are valid after `code`. */
function transpose(f: FunctionBuilder, rows: readonly Local[]): { code: Code; columns: Code[] } {
  // First two rows interleaved, columns 0–3 and 4–7; then four rows, two columns each.
  const twos = f.locals("v128", 8), fours = f.locals("v128", 8);
  const halves = [0, 1] as const;
  const code = [
    ...[0, 1, 2, 3].flatMap((pair) =>
      halves.flatMap((half) => {
        const [a, b] = [rows[2 * pair]!, rows[2 * pair + 1]!];
        return set(twos[2 * pair + half]!, interleaved(get(a), get(b), [2, half]));
      })
    ),
    ...halves.flatMap((half) =>
      halves.flatMap((part) =>
        halves.flatMap((four) => {
          const [a, b] = [twos[4 * four + half]!, twos[4 * four + 2 + half]!];
          return set(fours[4 * half + 2 * part + four]!, interleaved(get(a), get(b), [4, part]));
        })
      )
    ),
  ];
  const columns = [0, 2, 4, 6].flatMap((i) =>
    halves.map((half) => interleaved(get(fours[i]!), get(fours[i + 1]!), [8, half]))
  );
  return { code, columns };
}

/** Interleaves lanes of `size` bytes of the lower or the upper half of two vectors. */
function interleaved(a: Code, b: Code, [size, half]: readonly [number, 0 | 1]): Code {
  const lanes = Array.from({ length: 16 }, (_, i) => {
    const from = Math.floor(i / (2 * size)) * size + i % size + 8 * half;
    return i % (2 * size) < size ? from : 16 + from;
  });
  return shuffle(a, b, lanes);
}
