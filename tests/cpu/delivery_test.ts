/** The results of a step reach their readers before the next step occupies the thread. */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { GREEDY } from "../../engine/run/runner.ts";
import { watchLists, withTiny } from "./cpu_runner.ts";

Deno.test("CpuRunner lets a step's readers run before it begins the next step", async () => {
  await withTiny(["llama", "F16"], { threads: 1, blocks: [8] }, async (runner) => {
    let lists = 0;
    watchLists(runner, (count) => lists = count);
    const at = (start: number, tokens: number[] | null) => ({
      sequences: [{ slot: 0, tokens, start, blockTables: [[0, 1, 2]], sampling: GREEDY }],
    });
    const [first, second] = [runner.submit(at(0, [1, 2, 3])), runner.submit(at(3, null))];
    await first.read();
    const begun = lists;
    // A token needs one turn of the event loop to reach the response's stream, and another one to
    // reach the socket.
    for (let passes = 0; passes < 2; passes++) await setImmediate();
    assert.equal(lists, begun);
    await second.read();
    assert.ok(lists > begun);
  });
});
