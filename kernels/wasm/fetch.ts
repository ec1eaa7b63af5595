/**
 * Prefetches memory by reading it ahead. A processor has a limited number of instructions in
 * flight. While a kernel computes with what it reads, those reach only one or two cache lines
 * further, so the kernel waits for most lines in turn. A loop that only loads has as many cache
 * lines in flight as the processor supports.
 */

import { get, i32, load, type ModuleBuilder, op, set } from "./assembler.ts";
import { whileCount } from "./math.ts";

/**
 * log2 of the bytes of a cache line, on most processors. Longer lines are loaded more than once.
 */
export const LINE_BITS = 6;
export const LINE_BYTES = 2 ** LINE_BITS;

/** Loads per iteration. Their cache misses overlap regardless of the branch at the end. */
const UNROLLED = 32;

/**
 * Adds a function (from, lines) that reads `lines` cache lines, starting at `from`, into the cache.
 */
export function addFetch(module: ModuleBuilder): number {
  return module.add([module.address, "i32"], [], (f, [from, lines]) => {
    const all = f.local("i32"), rest = f.local("i32");
    const touch = (count: number) => [
      ...Array.from(
        { length: count },
        (_, i) => set(all, op("i32.or", get(all), load("i32.load", get(from!), LINE_BYTES * i))),
      ).flat(),
      ...set(from!, module.plus(get(from!), module.addressConst(LINE_BYTES * count))),
    ];
    return [
      ...set(rest, op("i32.and", get(lines!), i32(UNROLLED - 1))),
      ...set(lines!, op("i32.sub", get(lines!), get(rest))),
      ...whileCount(lines!, UNROLLED, touch(UNROLLED)),
      ...whileCount(rest, 1, touch(1)),
      ...module.keep(get(all)),
    ];
  });
}
