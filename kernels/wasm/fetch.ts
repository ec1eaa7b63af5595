/**
 * Reads memory ahead. A processor has only so many instructions in flight, and while a kernel computes
 * with what it reads, those reach only one or two cache lines further: it waits for most lines in turn.
 * A loop that only loads has as many lines on their way at once as the processor can.
 */

import { get, i32, load, type ModuleBuilder, op, set } from "./assembler.ts";
import { whileCount } from "./math.ts";

/** Bytes of the cache lines of most processors; where they are longer, each is loaded twice. */
export const LINE_BITS = 6;
export const LINE_BYTES = 2 ** LINE_BITS;

/** Loads in one iteration, whose misses overlap whatever the branch at its end does. */
const UNROLLED = 32;

/** Adds a function (from, lines) that brings so many cache lines near. */
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
