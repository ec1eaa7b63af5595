/**
 * How threads run a list of operations together. They take units of each operation until none is
 * left, and wait for each other before an operation that needs all results of the one before. A
 * waiting thread spins for some microseconds and then sleeps.
 */

import {
  block,
  br,
  brIf,
  call,
  type Code,
  get,
  i32,
  i64,
  load,
  type Local,
  loop,
  type ModuleBuilder,
  op,
  set,
  store,
  tee,
  when,
} from "./assembler.ts";
import { JOIN, OPERATION, OPERATION_BYTES, REDUNDANT } from "./operation.ts";

/**
 * Byte offsets of what the threads share. Fields that are written often have a cache line of their
 * own. `joined`: arrivals at joins so far. `sleepers`: threads that sleep in a join. `base`: the
 * value of `joined` when the list was started. `active`: threads that take units; all threads join.
 * `count`: operations of the list. `ready`: workers that have started. `operations`: address of the
 * list. `slots`: a slot for each thread; the slot of the first thread is unused.
 */
export const CONTROL = {
  joined: 0,
  sleepers: 64,
  failed: 128,
  base: 132,
  threads: 136,
  active: 140,
  count: 144,
  ready: 148,
  operations: 152,
  slots: 256,
} as const;

/**
 * Byte offsets in a thread's slot. `generation` counts the lists that the thread was told to start
 * and is negative when the thread must end. `idle`: 1 while the thread sleeps. `message`: the error
 * that ended the thread, in UTF-8 with a terminating zero.
 */
export const SLOT = { generation: 0, idle: 4, message: 64, bytes: 320 } as const;

/** Iterations of the spin loop before a thread sleeps, of about a nanosecond each. */
const SPINS = 20_000;
/** How long a thread sleeps before it checks whether another one failed. */
const NAP_NS = 100_000_000n;
/** After this many naps in one wait (a minute), the wait fails. */
const MOST_NAPS = 600;

/** Return values of `work`. */
export const WORK_DONE = 0;
const WORK_FAILED = 1;

/**
 * Adds and exports `work(control, thread)`, which runs a list of operations, and
 * `idle(slot, seen)`, which waits until the slot's generation differs from `seen` and returns it.
 */
export function addDispatch(module: ModuleBuilder): void {
  const join = addJoin(module);
  const { address } = module;
  const kernelType = module.type([address, "i32", "i32", "i32"], []);
  const work = module.add([address, "i32"], ["i32"], (f, [control, thread]) => {
    const operation = f.local(address), end = f.local(address);
    const target = f.local("i32"), from = f.local("i32"), units = f.local("i32");
    const chunk = f.local("i32");
    const shared = (name: "base" | "threads" | "active" | "count") =>
      load("i32.load", get(control!), CONTROL[name]);
    const own = (name: keyof typeof OPERATION) => load("i32.load", get(operation), OPERATION[name]);
    const run = (first: Code, last: Code) =>
      module.callIndirect(kernelType, own("kernel"), get(operation), first, last, get(thread!));
    const shareOut: Code = [
      ...set(chunk, own("chunk")),
      ...block(loop(
        brIf(
          1,
          op(
            "i32.ge_u",
            tee(from, store("i32.atomic.rmw.add", get(operation), OPERATION.next, get(chunk))),
            get(units),
          ),
        ),
        run(get(from), lesser(op("i32.add", get(from), get(chunk)), get(units))),
        br(0),
      )),
    ];
    return [
      ...set(target, shared("base")),
      ...set(operation, module.loadAddress(get(control!), CONTROL.operations)),
      ...set(end, module.at(get(operation), shared("count"), module.addressConst(OPERATION_BYTES))),
      ...block(loop(
        brIf(1, op("i32.eqz", module.below(get(operation), get(end)))),
        when(op("i32.lt_u", get(thread!), shared("active")), [
          ...set(units, own("units")),
          ...when(
            op("i32.and", own("flags"), i32(REDUNDANT)),
            run(i32(0), get(units)),
            shareOut,
          ),
        ]),
        when(op("i32.and", own("flags"), i32(JOIN)), [
          ...set(target, op("i32.add", get(target), shared("threads"))),
          ...when(call(join, get(control!), get(target)), [...i32(WORK_FAILED), ...op("return")]),
        ]),
        set(operation, module.plus(get(operation), module.addressConst(OPERATION_BYTES))),
        br(0),
      )),
      ...i32(WORK_DONE),
    ];
  });
  module.export("work", work);
  module.export("idle", addIdle(module));
}

function lesser(a: Code, b: Code): Code {
  return [...a, ...b, ...op("i32.lt_u", a, b), ...op("select")];
}

/**
 * Adds a function that counts this thread as arrived and waits until `target` arrivals have been
 * counted in total. It returns 1 if a thread failed.
 */
function addJoin(module: ModuleBuilder): number {
  return module.add([module.address, "i32"], ["i32"], (f, [control, target]) => {
    const joined = f.local("i32"), failed = f.local("i32");
    const arrived = (value: Code) => op("i32.ge_s", op("i32.sub", value, get(target!)), i32(0));
    return [
      ...set(joined, store("i32.atomic.rmw.add", get(control!), CONTROL.joined, i32(1))),
      ...when(
        arrived(op("i32.add", get(joined), i32(1))),
        when(load("i32.atomic.load", get(control!), CONTROL.sleepers), [
          ...store("memory.atomic.notify", get(control!), CONTROL.joined, i32(-1)),
          ...op("drop"),
        ]),
        sleepUntil(f.locals("i32", 3), {
          word: { base: control!, offset: CONTROL.joined },
          sleepers: { base: control!, offset: CONTROL.sleepers },
          givenUp: load("i32.atomic.load", get(control!), CONTROL.failed),
          done: (value) => arrived(get(value)),
          failed,
        }),
      ),
      // Checked even if this thread did not wait: a failed thread has not done its share.
      ...op("i32.or", get(failed), load("i32.atomic.load", get(control!), CONTROL.failed)),
    ];
  });
}

function addIdle(module: ModuleBuilder): number {
  return module.add([module.address, "i32"], ["i32"], (f, [slot, seen]) => [
    ...sleepUntil(f.locals("i32", 3), {
      word: { base: slot!, offset: SLOT.generation },
      sleepers: { base: slot!, offset: SLOT.idle },
      done: (value) => op("i32.ne", get(value), get(seen!)),
    }),
    ...load("i32.atomic.load", get(slot!), SLOT.generation),
  ]);
}

/** A shared 32-bit word. */
interface Word {
  readonly base: Local;
  readonly offset: number;
}

/**
 * Waits until `done` is true of the word: spins first, then sleeps. With `givenUp`, it also ends
 * the wait and sets `failed` if `givenUp` is true or the wait takes too long.
 */
function sleepUntil(
  [value, iterations, naps]: readonly Local[],
  { word, sleepers, done, failed, givenUp }: {
    readonly word: Word;
    readonly sleepers: Word;
    readonly done: (value: Local) => Code;
    readonly failed?: Local;
    readonly givenUp?: Code;
  },
): Code {
  const now = set(value!, load("i32.atomic.load", get(word.base), word.offset));
  const count = (by: number) => [
    ...store("i32.atomic.rmw.add", get(sleepers.base), sleepers.offset, i32(by)),
    ...op("drop"),
  ];
  const tooLong = op("i32.gt_u", tee(naps!, op("i32.add", get(naps!), i32(1))), i32(MOST_NAPS));
  return block(
    set(iterations!, i32(SPINS)),
    loop(
      now,
      brIf(1, done(value!)),
      brIf(0, tee(iterations!, op("i32.sub", get(iterations!), i32(1)))),
    ),
    count(1),
    block(loop(
      now,
      brIf(1, done(value!)),
      givenUp && failed
        ? when(op("i32.or", givenUp, tooLong), [...set(failed, i32(1)), ...br(2)])
        : [],
      store("memory.atomic.wait32", get(word.base), word.offset, get(value!), i64(NAP_NS)),
      op("drop"),
      br(0),
    )),
    count(-1),
  );
}
